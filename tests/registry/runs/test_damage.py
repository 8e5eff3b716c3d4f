"""Damaged files of a run: a paragraph that names the file, or the same numbers. Nothing else."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.conftest import tiny_config

from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.knn_grid import knn_grid
from solo_registry.evaluation.run import evaluate_again
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.records import read_record

FEW = (
    "data.fraction=0.1", "optimizer.batch_size=64", "max_epochs=2", "checkpoint.keep_prev=true",
    "telemetry.images=32", "telemetry.every_n_epochs=1", "evaluation.baselines=false",
    "evaluation.linear=false", "evaluation.knn_k=5", "scheduler.warmup_epochs=0",
    "knn_eval.enabled=true", "knn_eval.k=5",
)  # fmt: skip
QUIET = Console(quiet=True)
LINEAR = Recipe(frozen=True, epochs=1, lr=0.1)
pytestmark = pytest.mark.slow


def flip(data: bytearray, draw: random.Random) -> None:
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def digit(data: bytearray, draw: random.Random) -> None:
    """Change a digit, which leaves a text file readable."""
    places = [place for place, byte in enumerate(data) if chr(byte).isdecimal()]
    place = draw.choice(places or [0])
    data[place] = ord(str((data[place] + 1) % 10))


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def zero(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    data[place : place + 40] = bytes(len(data[place : place + 40]))


def latin(data: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(data))
    data[place:place] = "é".encode("latin-1")


KINDS = (flip, digit, cut, zero, latin)


class Whole:
    """A finished run, what its commands give, and copies of it to damage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.given = tiny_config(root / "runs", "simclr_dyntemp", *FEW)
        run = pretrain(self.given, QUIET)
        classify(run.path, LINEAR, QUIET)
        shutil.copytree(root / "runs", root / "saved")
        self.path = run.path
        files = [path for path in run.path.rglob("*") if path.is_file()]
        self.files = sorted(path.relative_to(run.path) for path in files)
        self.expected = {name: command(self) for name, command in COMMANDS.items()}

    def restore(self) -> None:
        shutil.rmtree(self.root / "runs")
        shutil.copytree(self.root / "saved", self.root / "runs")


def exported(whole: Whole) -> Any:
    folder = export_run(whole.path, "timm", whole.root / "out", QUIET)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resumed(whole: Whole) -> Any:
    """The run as it was after its first epoch, ended by the same command."""
    saved = whole.path / "checkpoints"
    for name in ("result.json", "result.sha256"):
        (whole.path / name).unlink()
    (saved / "epoch-1.ckpt").replace(saved / "last.ckpt")
    return pretrain(whole.given, QUIET).read_result()


def board(whole: Whole) -> Any:
    record = read_record(whole.path)
    if record.status != "finished":
        raise UserError(record.problem)
    return record.result


COMMANDS: dict[str, Callable[[Whole], Any]] = {
    "board": board,
    "pretrain": lambda whole: pretrain(whole.given, QUIET).read_result(),
    "export": exported,
    "linear": lambda whole: classify(whole.path, LINEAR, QUIET),
    "knn": lambda whole: knn_grid(whole.path, QUIET, k=[1], temperatures=[0.1])["rows"],
    "evaluate": lambda whole: evaluate_again(whole.path, {}, QUIET)["results"],
    "resume": resumed,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("damage"))


HOW_MANY = [12, pytest.param(400, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("tries", HOW_MANY)
def test_no_traceback_and_no_other_number(whole: Whole, tries: int) -> None:
    draw = random.Random(tries)
    wrong = []
    for number in range(tries):
        whole.restore()
        file = whole.path / whole.files[number % len(whole.files)]
        kind, name = draw.choice(KINDS), draw.choice(list(COMMANDS))
        data = bytearray(file.read_bytes())
        kind(data, draw)
        file.write_bytes(data)
        try:
            found = COMMANDS[name](whole)
            if found != whole.expected[name]:
                wrong.append(f"{number}: {kind.__name__} of {file.name}, {name}: other numbers")
        except UserError as error:
            if "\n" in str(error).strip() or len(str(error)) > 1200:
                wrong.append(f"{number}: {kind.__name__} of {file.name}, {name}: {error}")
        except BaseException as error:
            wrong.append(f"{number}: {kind.__name__} of {file.name}, {name}: {error!r:.300}")
    assert not wrong, "\n".join(wrong)
