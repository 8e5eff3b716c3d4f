"""`kill -9` at every write: each file is whole or absent, and the same command ends the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from omegaconf import DictConfig
from rich.console import Console
from tests.registry.kills import EVERY, attack

from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
FEW = (
    "data.fraction=0.1", "optimizer.batch_size=64", "max_epochs=2", "checkpoint.keep_prev=true",
    "telemetry.images=32", "telemetry.every_n_epochs=1", "evaluation.baselines=false",
    "evaluation.linear=false", "evaluation.knn_k=5", "scheduler.warmup_epochs=0",
    "checkpoint.every_n_minutes=1e-9",  # after every step
)  # fmt: skip


def pretraining(given: DictConfig) -> None:
    pretrain(given, Console(quiet=True))


def probing(path: Path, frozen: bool) -> None:
    recipe = Recipe(frozen=frozen, epochs=2, lr=0.1, batch_size=64)
    classify(path, recipe, Console(quiet=True))


def exporting(path: Path) -> None:
    export_run(path, "timm", None, Console(quiet=True))


HOW_MANY = [
    pytest.param((9, 30), id="two"), pytest.param(EVERY, marks=pytest.mark.nightly, id="every"),
]  # fmt: skip
pytestmark = [pytest.mark.slow, pytest.mark.distributed]


@pytest.mark.parametrize("numbers", HOW_MANY)
def test_pretrain(tiny: Tiny, tmp_path: Path, numbers: Iterable[int]) -> None:
    root, given = tmp_path / "runs", tiny("simclr", *FEW)
    fresh = partial(shutil.rmtree, root, ignore_errors=True)
    attack(root, fresh, pretraining, given, numbers=numbers)


@pytest.fixture
def run(tiny: Tiny) -> RunFolder:
    return pretrain(tiny("simclr", *FEW), Console(quiet=True))


@pytest.mark.parametrize("numbers", HOW_MANY)
def test_linear_finetune_and_export(run: RunFolder, tmp_path: Path, numbers: Iterable[int]) -> None:
    shutil.move(run.path.parents[2], tmp_path / "whole")

    def fresh() -> None:
        shutil.rmtree(run.path.parents[2], ignore_errors=True)
        shutil.copytree(tmp_path / "whole", run.path.parents[2])

    attack(run.path, fresh, exporting, run.path, numbers=numbers)
    attack(run.path, fresh, probing, run.path, True, numbers=numbers)
    attack(run.path, fresh, probing, run.path, False, numbers=numbers)
