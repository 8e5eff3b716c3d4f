"""The pull-request kit on a clone of solo-learn 1.0.6; skipped visibly where there is none."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce, dyntemp_infonce_queue
from solo_dyntemp.temperature import CosineTemperature
from solo_dyntemp.upstream.changes import INSERTIONS, NEW_FILES, RECIPES
from solo_dyntemp.upstream.command import BRANCH, run

ROOT = Path(__file__).parents[3]
SOLO = importlib.util.find_spec("solo")
needs_solo = pytest.mark.skipif(SOLO is None, reason="solo-learn is not on the path")
LICENCE = "# Copyright\n\n# Permission is hereby granted, free of charge\n\n"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def own_git_config(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "gitconfig").write_text("[user]\n name = A User\n email = user@example.org\n")


def committed(folder: Path) -> Path:
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    """A repository that has of solo-learn just what the kit looks at."""
    folder = tmp_path / "clone"
    texts = {"setup.py": 'version="1.0.6"\n', "solo/losses/simclr.py": f"{LICENCE}import torch\n"}
    for path, lines in INSERTIONS.items():
        texts[path] = "\n".join(["first", *lines, "last", ""])
    for where, method in RECIPES:
        texts[f"{where}/{method}.yaml"] = (
            f'name: "{method}-data"\nmethod: "{method}"\nmethod_kwargs:\n  temperature: 0.2\n'
        )
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return committed(folder)


def everything(folder: Path) -> tuple[dict[str, bytes], str]:
    """All files outside .git, and what git says."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    inside = {path: text for path, text in files.items() if "/.git/" not in path}
    return inside, git(folder, "log", "--all", "--format=%H %D") + git(folder, "status")


def test_it_commits_on_a_branch_and_again_changes_nothing(minimal: Path, capsys: Any) -> None:
    run([str(minimal)])
    assert git(minimal, "branch", "--show-current").strip() == BRANCH
    assert git(minimal, "log", "-1", "--format=%an <%ae>").strip() == "A User <user@example.org>"
    assert not git(minimal, "status", "--porcelain")
    changed = git(minimal, "diff", "--name-only", "main").split()
    templates = [path for path in NEW_FILES.rglob("*.*") if path.suffix in (".py", ".rst")]
    assert len(changed) == len(templates) + len(RECIPES) + len(INSERTIONS)
    loss = (minimal / "solo/losses/simclr_dyntemp.py").read_text()
    assert loss.startswith(f"{LICENCE}import math\n")
    assert "solo_dyntemp" not in loss
    recipe = (minimal / "scripts/pretrain/cifar/simclr_dyntemp.yaml").read_text()
    assert recipe.splitlines()[1:] == [
        'method: "simclr_dyntemp"', "method_kwargs:", "  tau_min: 0.1", "  tau_max: 0.2",
    ]  # fmt: skip
    assert (minimal.parent / f"clone-{BRANCH}-pr.md").read_text() in capsys.readouterr().out

    after = everything(minimal)
    run([str(minimal)])
    assert "nothing to do: the clone has all changes" in capsys.readouterr().out
    assert everything(minimal) == after
    git(minimal, "switch", "--quiet", "main")
    before = everything(minimal)
    run([str(minimal)])
    assert f"its branch {BRANCH} has all changes" in capsys.readouterr().out.replace("\n", " ")
    assert everything(minimal) == before


def test_a_dry_run_shows_the_changes_and_writes_nothing(minimal: Path, capsys: Any) -> None:
    before = everything(minimal)
    run([str(minimal), "--dry-run"])
    out = capsys.readouterr().out
    assert '+    "simclr_dyntemp": SimCLRDynTemp,' in out
    assert "+++ tests/losses/test_simclr_dyntemp.py" in out
    assert everything(minimal) == before and not list(minimal.parent.glob("*pr.md"))


def test_without_a_git_identity_the_files_are_staged(
    minimal: Path, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "gitconfig").write_text("")
    run([str(minimal)])
    assert "staged (git has no user.name" in capsys.readouterr().out
    assert all(line[0] in "AM" for line in git(minimal, "status", "--porcelain").splitlines())
    after = everything(minimal)
    run([str(minimal)])
    assert everything(minimal) == after


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("new.txt", "x", r"is not clean: new\.txt\. Commit or stash"),
        ("setup.py", 'version="1.0.2"\n', "another version of solo-learn; this kit knows"),
        ("README.md", "other\n", r"README\.md has .* 0 times, not once"),
        ("docs/source/index.rst", None, r"no clone of solo-learn: docs/source/index\.rst"),
        ("solo/losses/simclr.py", "import torch\n", "has no licence header"),
        ("scripts/pretrain/cifar/simclr.yaml", "method: x\n", "times, not once"),
    ],
)
def test_another_clone_is_refused_and_stays_as_it_is(
    minimal: Path, path: str, text: str | None, reason: str
) -> None:
    if text is None:
        (minimal / path).unlink()
    else:
        (minimal / path).write_text(text)
    if path != "new.txt":
        git(minimal, "commit", "--quiet", "--all", "--message", "other")
    before = everything(minimal)
    with pytest.raises(ValueError, match=reason):
        run([str(minimal)])
    assert everything(minimal) == before


def test_a_branch_of_the_name_with_other_contents_is_kept(minimal: Path) -> None:
    git(minimal, "branch", BRANCH)
    with pytest.raises(ValueError, match="already has a branch simclr-dyntemp with other"):
        run([str(minimal)])


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="git rev-parse failed in"):
        run([str(tmp_path / "nowhere")])


def test_the_templates_are_formatted_as_solo_learn_is() -> None:
    files = [str(path) for path in NEW_FILES.rglob("*.py")]
    done = subprocess.run(
        [sys.executable, "-m", "black", "--quiet", "--check", "-l", "100", *files],
        capture_output=True, text=True,
    )  # fmt: skip
    assert files and not done.returncode, done.stderr


def two_processes(rank: int, file: Path) -> None:
    """In each of two processes: the local loss and gradient of both forms."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    z = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))[rank]
    indexes = torch.arange(6).repeat(2) + 6 * rank
    compare_losses(z, indexes)
    dist.barrier()
    dist.destroy_process_group()


def compare_losses(z: Tensor, indexes: Tensor) -> None:
    """Ours and the generated one: equal value and gradient, detached and not."""
    from solo.losses.simclr_dyntemp import simclr_dyntemp_loss_func as theirs

    for detach in (True, False):
        leaf, other = z.clone().requires_grad_(), z.clone().requires_grad_()
        loss = dyntemp_infonce(
            leaf, indexes, temperature=CosineTemperature(0.07, 0.3), detach_temperature=detach
        )
        generated = theirs(other, indexes, 0.07, 0.3, detach)
        loss.backward()
        generated.backward()
        torch.testing.assert_close(loss, generated)
        torch.testing.assert_close(leaf.grad, other.grad, atol=1e-6, rtol=1e-4)


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The solo-learn on the path as a repository of its own."""
    assert SOLO and SOLO.origin
    source = Path(SOLO.origin).parents[1]
    folder = tmp_path / "solo-learn"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git", "__pycache__", ".venv"))
    return committed(folder)


@pytest.fixture
def generated(real: Path, monkeypatch: Any) -> Iterator[Path]:
    """The clone with the pull request, imported in place of the one on the path."""
    run([str(real)])
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("solo.")}
    before["solo"] = sys.modules.pop("solo", None)  # type: ignore[assignment]
    monkeypatch.syspath_prepend(str(real))
    yield real
    for name in [name for name in sys.modules if name == "solo" or name.startswith("solo.")]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in before.items() if module})


@needs_solo
@pytest.mark.solo
@pytest.mark.filterwarnings("ignore")  # solo-learn's own imports warn on the newest torch and timm
class TestGenerated:
    @pytest.mark.parametrize("views", [2, 3, 5])
    def test_its_loss_is_ours(self, generated: Path, views: int) -> None:
        assert str(generated) in str(importlib.import_module("solo.losses").__file__)
        compare_losses(torch.randn(views * 9, 8), torch.arange(9).repeat(views))

    def test_its_queue_loss_is_ours(self, generated: Path) -> None:
        from solo.losses import mocov2plus_dyntemp_loss_func as theirs

        query, key = (F.normalize(torch.randn(9, 8), dim=1) for _ in range(2))
        queue = F.normalize(torch.randn(8, 40), dim=0)
        for detach in (True, False):
            leaf, other = query.clone().requires_grad_(), query.clone().requires_grad_()
            loss = dyntemp_infonce_queue(
                F.normalize(leaf, dim=1), key, queue, temperature=CosineTemperature(0.07, 0.3),
                detach_temperature=detach,
            )  # fmt: skip
            also = theirs(F.normalize(other, dim=1), key, queue, 0.07, 0.3, detach)
            loss.backward()
            also.backward()
            torch.testing.assert_close(loss, also)
            torch.testing.assert_close(leaf.grad, other.grad, atol=1e-6, rtol=1e-4)

    def test_its_temperature_is_ours(self, generated: Path) -> None:
        from solo.losses.simclr_dyntemp import dyntemp_temperature

        s = torch.linspace(-1, 1, 201)
        ours = CosineTemperature(0.07, 0.3)(s)
        torch.testing.assert_close(dyntemp_temperature(s, 0.07, 0.3), ours)

    @pytest.mark.distributed
    def test_its_loss_is_ours_on_two_processes(self, generated: Path, tmp_path: Path) -> None:
        program = (
            "import sys, importlib.util; from pathlib import Path;"
            f"spec = importlib.util.spec_from_file_location('kit', {__file__!r});"
            "kit = importlib.util.module_from_spec(spec); spec.loader.exec_module(kit);"
            f"kit.two_processes(int(sys.argv[1]), Path({str(tmp_path / 'meet')!r}))"
        )
        path = os.pathsep.join([str(generated), *filter(None, sys.path)])
        started = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(rank)],
                env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True,
            )
            for rank in range(2)
        ]  # fmt: skip
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert not process.returncode, errors

    @pytest.mark.slow
    def test_the_clones_own_tests_pass_with_ours_among_them(self, real: Path) -> None:
        run([str(real)])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "tests/losses", "tests/methods", "tests/args"],
            cwd=real, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.returncode, done.stdout[-3000:]
        for path in NEW_FILES.rglob("test_*.py"):
            assert f"{path.relative_to(NEW_FILES).as_posix()}::" in done.stdout
