"""`kill -9` at every write: each file is whole or absent, and the same command ends the same."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console
from tests.registry.kills import KILLED, kill_at

from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.read import read_yaml
from solo_registry.runs.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
ROOT = Path(__file__).parents[3]
FEW = (
    "data.fraction=0.1", "optimizer.batch_size=64", "max_epochs=2", "checkpoint.keep_prev=true",
    "telemetry.images=32", "telemetry.every_n_epochs=1", "evaluation.baselines=false",
    "evaluation.linear=false", "evaluation.knn_k=5", "scheduler.warmup_epochs=0",
    "checkpoint.every_n_minutes=1e-9",  # after every step
)  # fmt: skip
OF_THE_HOUR = {"environment.json", "cost.json"}  # they hold times


def pretraining(given: DictConfig) -> None:
    pretrain(given, Console(quiet=True))


def probing(path: Path, frozen: bool) -> None:
    recipe = Recipe(frozen=frozen, epochs=2, lr=0.1, batch_size=64)
    classify(path, recipe, Console(quiet=True))


def exporting(path: Path) -> None:
    export_run(path, "timm", None, Console(quiet=True))


def whole(folder: Path) -> None:
    """Read every file that has its own name; what a killed write leaves begins with a dot."""
    readers: dict[str, Callable[[Any], Any]] = {
        ".json": lambda path: json.loads(path.read_text()),
        ".yaml": read_yaml,
        ".ckpt": lambda path: zipfile.ZipFile(path).testzip(),
        ".parquet": pd.read_parquet,
        ".csv": pd.read_csv,
        ".png": lambda path: Image.open(path).verify(),
    }
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.parts[-4:]):
            assert path.suffix not in readers or readers[path.suffix](path) is not False
            assert b"half a li" not in path.read_bytes()[:20], path


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder; of checkpoints, which hold seconds, the weights alone."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in OF_THE_HOUR]
    return {str(path.relative_to(folder)): weights(path) for path in files}


def weights(path: Path) -> bytes:
    if path.suffix != ".ckpt":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        return b"".join(map(archive.read, names))


def numbers(every: bool) -> Iterator[int]:
    """The writes at which to kill: every one, or one early and one late."""
    yield from range(1, 1000) if every else (9, 30)


def attack(
    every: bool, root: Path, fresh: Callable[[], None], target: Callable[..., None], *args: Any
) -> None:
    """Kill `target` at its writes below `root`, let it run again, and compare with an unbroken run.

    Args:
        every: whether at every write.
        root: the folder that it writes to.
        fresh: makes the folder as it is before.
        target: what is killed.
        *args: its arguments.
    """
    fresh()
    assert kill_at(0, root, target, *args) == 0
    expected = content(root)
    for number in numbers(every):
        fresh()
        code = kill_at(number, root, target, *args)
        if code == 0:
            assert number > 5  # all writes are done
            return
        assert code == KILLED
        whole(root)
        assert kill_at(0, root, target, *args) == 0, number
        found = content(root)
        assert found.keys() == expected.keys(), number
        assert [name for name in found if found[name] != expected[name]] == [], number


HOW_MANY = [False, pytest.param(True, marks=pytest.mark.nightly)]
pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.xdist_group("kills")]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])


@pytest.mark.parametrize("every", HOW_MANY)
def test_pretrain(tiny: Tiny, tmp_path: Path, every: bool) -> None:
    given = tiny("simclr", *FEW)
    root = tmp_path / "runs"
    attack(every, root, lambda: shutil.rmtree(root, ignore_errors=True), pretraining, given)


@pytest.fixture
def run(tiny: Tiny) -> RunFolder:
    return pretrain(tiny("simclr", *FEW), Console(quiet=True))


@pytest.mark.parametrize("every", HOW_MANY)
def test_linear_finetune_and_export(run: RunFolder, tmp_path: Path, every: bool) -> None:
    shutil.move(run.path.parents[2], tmp_path / "whole")

    def fresh() -> None:
        shutil.rmtree(run.path.parents[2], ignore_errors=True)
        shutil.copytree(tmp_path / "whole", run.path.parents[2])

    attack(every, run.path, fresh, exporting, run.path)
    attack(every, run.path, fresh, probing, run.path, True)
    attack(every, run.path, fresh, probing, run.path, False)
