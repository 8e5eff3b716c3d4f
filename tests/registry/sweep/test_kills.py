"""`kill -9` at every write of a sweep's folder; `runs/test_kills.py` has those of its runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from tests.registry.kills import EVERY, attack
from tests.registry.sweep.conftest import FAST, WORDS, Formula

from solo_registry.sweep import on_ray
from solo_registry.sweep.run import run_sweep


def sweeping(folder: Path) -> None:
    on_ray.start = Formula  # type: ignore[assignment]
    os.chdir(folder)
    run_sweep([*WORDS, *FAST, "trials=3"], Console(quiet=True))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(
    "numbers",
    [pytest.param((7,), id="one"), pytest.param(EVERY, marks=pytest.mark.nightly, id="every")],
)
def test_sweep(tmp_path: Path, numbers: Iterable[int]) -> None:
    """Its runs are formulas: they are finished, or go on, as the kill left them."""
    root = tmp_path / "sweeps"
    fresh = partial(shutil.rmtree, root, ignore_errors=True)
    attack(root, fresh, sweeping, tmp_path, numbers=numbers)
