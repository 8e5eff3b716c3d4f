"""Runs on several devices each, under every launcher."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORDS = (
    "method=simclr", "data=digits", "max_epochs=1", "evaluation.enabled=false",
    "data.num_workers=1", "optimizer.batch_size=128", "backbone.kwargs.channels=[4,4,8,8]",
    "devices=2", "accelerator=cpu", "strategy=ddp",
)  # fmt: skip


BOARD = (
    "suite=smoke", "seeds=1", "strategies=fixed", "suite.tuning.points=1",
    "suite.strategies.fixed.grid={method_kwargs.temperature: [0.2]}", "evaluation.linear=false",
    "evaluation.baselines=false", *WORDS[1:3], *WORDS[4:],
)  # fmt: skip


def run(folder: Path, *words: str) -> dict[str, bytes]:
    """Run the command; return metrics.csv by seed."""
    folder.mkdir()
    command = [sys.executable, "-m", "solo_registry", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {path.parent.name: path.read_bytes() for path in folder.rglob("metrics.csv")}


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_jobs_of_multirun_equal_runs_one_by_one(tmp_path: Path) -> None:
    """The further processes of a job run this job alone, whatever has started it."""
    pytest.importorskip("submitit")
    alone = {}
    for seed in (1, 2):
        alone |= run(tmp_path / f"{seed}", "pretrain", *WORDS, f"seed={seed}")
    assert set(alone) == {"1", "2"}
    for launcher in ("basic", "joblib", "submitit_local"):
        words = ("pretrain", "--multirun", *WORDS, "seed=1,2", f"hydra/launcher={launcher}")
        assert run(tmp_path / launcher, *words) == alone, launcher


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_runs_of_a_board_are_equal_under_every_launcher(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    found = [
        run(tmp_path / launcher, "leaderboard", "run", *BOARD, f"hydra/launcher={launcher}")
        for launcher in ("basic", "joblib", "submitit_local")
    ]
    assert len(found[0]) == 1 and found[1:] == found[:1] * 2
