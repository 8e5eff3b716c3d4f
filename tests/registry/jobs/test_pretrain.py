"""Runs of `dyntemp pretrain --multirun`, each on several devices, under every launcher."""

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


def pretrain(folder: Path, *words: str) -> dict[str, bytes]:
    """Run the command; return metrics.csv by seed."""
    folder.mkdir()
    command = [sys.executable, "-m", "solo_registry", "pretrain", *WORDS, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return {path.parent.name: path.read_bytes() for path in folder.rglob("metrics.csv")}


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_jobs_on_several_devices_equal_runs_one_by_one(tmp_path: Path) -> None:
    """The further processes of a job run this job alone, whatever has started it."""
    pytest.importorskip("submitit")
    alone = {}
    for seed in (1, 2):
        alone |= pretrain(tmp_path / f"{seed}", f"seed={seed}")
    assert set(alone) == {"1", "2"}
    for launcher in ("basic", "joblib", "submitit_local"):
        words = ("--multirun", "seed=1,2", f"hydra/launcher={launcher}")
        assert pretrain(tmp_path / launcher, *words) == alone, launcher
