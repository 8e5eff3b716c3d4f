"""The code blocks of the pages: Python runs, commands parse and compose, some really run.

A block of commands whose first line is "```bash run" runs in `make test-all` as it stands. The
blocks of CONTRIBUTING.md are a package, which test_contributing.py builds.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import pytest
import torch
import typer.main
import yaml
from markdown_it import MarkdownIt

from solo_registry.cli.main import add_plugin_commands, app
from solo_registry.config.compose import split_args
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.leaderboard import run as leaderboard
from solo_registry.sweep import run as sweep

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GIVEN = {  # what a block that is no doctest takes as given
    "z": torch.eye(4).repeat(2, 1),
    "indexes": torch.arange(4).repeat(2),
    "z0": torch.eye(4),
    "z1": torch.eye(4),
}
ELSEWHERE = ("recipes.md", "inference.md")  # test_recipes.py; inference/test_inference.py
FOREIGN = (
    "#SBATCH",
    "#!",
    "echo",
    "export",
    "test $?",
    "git clone",
    "python main_pretrain.py",
    "PIP_CONSTRAINT=",
    "tar",
)
UsageError = typer.BadParameter.__mro__[1]  # of the Click that Typer uses, which may be its own
COMPOSED = ("pretrain", "plan", "verify-ddp", "leaderboard run", "sweep")


class Block(NamedTuple):
    """A fenced block: its page, its first line's number, its language, "run" or "", its text."""

    page: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path, text: str) -> Iterator[Block]:
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            language, _, mark = token.info.strip().partition(" ")
            assert token.map is not None
            yield Block(page, token.map[0] + 1, language, mark, token.content)


BLOCKS = [block for page in PAGES for block in blocks_of(page, page.read_text(encoding="utf-8"))]


def of(language: str) -> list[Any]:
    return [pytest.param(b, id=b.name) for b in BLOCKS if b.language == language]


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each line, the block's own variables put in."""
    variables: dict[str, str] = {"PWD": str(ROOT)}
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("export "):
            pairs = (word.partition("=") for word in shlex.split(line)[1:])
            variables |= {name: value for name, _, value in pairs}
        elif line.strip() and not line.startswith(FOREIGN):
            yield shlex.split(Template(line).safe_substitute(variables), comments=True)


def check_words(words: list[str]) -> None:
    """Raise unless the command would start: it is known, and its options and keys are."""
    context: Any = None
    command: Any = typer.main.get_command(app)
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name or "dyntemp", words, parent=context)
        words = [*getattr(context, "_protected_args", []), *context.args]  # of older versions
        _, command, words = command.resolve_command(context, words)
    context = command.make_context(command.name or "dyntemp", words, parent=context)
    name = context.command_path.partition(" ")[2]
    if name in COMPOSED:
        compose(name, context.args)


def compose(name: str, words: list[str]) -> None:
    """Compose the config that the words make; of a suite or a space the first point."""
    flags, words = split_args(words)
    if "--config-path" in flags:
        return  # a file that a command before it writes
    with hydra_session([], "runs") as hydra:
        if name == "leaderboard run":
            request = leaderboard.sort_overrides(words)
            node = hydra.option("suite", request.suite)
            suite = leaderboard.read_suite(
                request.suite, node, request.suite_changes, request.strategies
            )
            strategy = suite.strategies[suite.reference]
            words = [*suite.words, *strategy.words, *strategy.points()[0], *request.run]
        elif name == "sweep":
            search = sweep.sort_overrides(words)
            node = hydra.option("space", search.space)
            space = sweep.read_space(search.space, node, search.changes)
            words = [*space.words, *search.run]
        resolve(hydra.compose(words))


def check(words: list[str]) -> None:
    """Raise unless the line of a block of commands can be what it says."""
    match words:
        case ["dyntemp", *rest]:
            check_words(rest)
        case ["srun", "dyntemp", *rest]:
            check_words(rest)
        case ["torchrun", *rest]:
            at = rest.index("-m")
            assert rest[at + 1] == "solo_registry"
            check_words(rest[at + 2 :])
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["pip", "install" | "wheel", *rest]:
            extras = {extra for word in rest for extra in re.findall(r"\[(\w+)\]", word)}
            assert extras <= set(metadata("solo-dyntemp").get_all("Provides-Extra") or [])
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case _:
            raise AssertionError(
                f"{words}: teach this test to check the command, or add to FOREIGN"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_runs(page: Path) -> None:
    blocks = [block for block in BLOCKS if block.page == page and block.language == "python"]
    examples = "\n".join(block.text for block in blocks if block.text.startswith(">>>"))
    test = doctest.DocTestParser().get_doctest(examples, {}, page.name, str(page), 0)
    assert doctest.DocTestRunner().run(test).failed == 0
    for block in blocks:
        if page.name in ELSEWHERE:
            compile(block.text, block.name, "exec")
        elif not block.text.startswith(">>>"):
            exec(compile(block.text, block.name, "exec"), dict(GIVEN))


@pytest.mark.slow
@pytest.mark.parametrize("block", of("bash"))
def test_commands_parse_and_compose(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("indices.txt").write_text("0\n1\n")  # the files that some of them name
    Path("resnet50.pth").touch()
    Path("photos").mkdir()
    Path("packed").mkdir()
    Path("packed/train-00000.arrow").touch()
    Path("x.h5").touch()
    done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
    assert done.stderr == ""
    for words in commands(block):
        check(words)


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_a_mapping(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


def test_every_block_has_a_language_that_is_checked() -> None:
    assert len(BLOCKS) > 20
    assert {
        block.name for block in BLOCKS if block.language not in ("bash", "python", "yaml")
    } == set()


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in of("bash") if b.values[0].mark == "run"])
def test_marked_commands_run(block: Block, tmp_path: Path) -> None:
    """The folder of this Python goes first, so `dyntemp` is the one that is tested."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "dyntemp pretrain method=simclr_dyntmp",
        "dyntemp pretrain method_kwargs.tau=0.1",
        "dyntemp leaderboard run suite=tempeature",
        "dyntemp leaderboard rum suite=smoke",
        "dyntemp sweep space=temprature",
        "dyntemp knn RUN --kk 3",
        "dyntemp knn",
        "dyntemp pretrian",
        "make demos",
        "pip install 'solo-dyntemp[swep]'",
        "python scripts/gone.py",
        "frobnicate",
    ],
)
def test_a_wrong_line_is_found(line: str) -> None:
    (words,) = commands(Block(ROOT, 0, "bash", "", line))
    with pytest.raises((UserError, AssertionError, UsageError)):
        check(words)


add_plugin_commands()
