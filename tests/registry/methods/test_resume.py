"""A stopped and resumed run ends exactly as an unbroken one, for every method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint
from solo_registry.training.inside_epoch import InsideEpoch

Make = Callable[..., DictConfig]


class Killed(Exception):
    pass


def killed_after(steps: int) -> Callable[..., None]:
    """Return a stand-in for what follows a save: the process ends if it was that of a step."""

    def answer(self: InsideEpoch, asked: int) -> None:
        if self.path.exists() and read_checkpoint(self.path)["global_step"] == steps:
            raise Killed

    return answer


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return where two trees of tensors and plain values differ, bit by bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [d for key in one for d in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), path
        return [d for i in range(len(one)) for d in differences(one[i], other[i], f"{path}/{i}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [path]


@pytest.mark.slow
@pytest.mark.each_kind
def test_resuming_after_an_epoch_is_exact(
    small: Make, usual: str, tmp_path: Path, method: str
) -> None:
    words = [
        "max_epochs=3", "checkpoint.keep_prev=true", "evaluation.enabled=false",
        "optimizer.batch_size=32", "data.fraction=0.06",  # two steps an epoch
    ]  # fmt: skip
    whole = pretrain(small(usual, *words))
    first = whole.checkpoint.with_name("epoch-1.ckpt")
    torch.manual_seed(1234)  # what ran before must not matter
    resumed = pretrain(
        small(usual, *words, f"runs_dir={tmp_path}/again", f"resume_from_checkpoint={first}")
    )
    states = [read_checkpoint(run.checkpoint) for run in (whole, resumed)]
    assert states[0]["global_step"] == 6
    assert read_checkpoint(first)["global_step"] == 2
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(*(state[key] for state in states)) == []
    assert whole.metrics.read_text() == resumed.metrics.read_text()


@pytest.mark.nightly
@pytest.mark.slow
def test_resuming_inside_an_epoch_is_exact(
    small: Make, usual: str, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "max_epochs=3", "evaluation.enabled=false", "optimizer.batch_size=32",
        "data.fraction=0.06", "checkpoint.every_n_minutes=1e-9",  # two steps, saved after the first
    ]  # fmt: skip
    whole = pretrain(small(usual, *words))
    broken = small(usual, *words, f"runs_dir={tmp_path}/broken")
    for steps in (1, 3, 5):
        torch.manual_seed(steps)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(InsideEpoch, "answer", killed_after(steps))
            pretrain(broken)
    resumed = pretrain(broken)
    states = [read_checkpoint(run.checkpoint) for run in (whole, resumed)]
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert differences(*(state[key] for state in states)) == []
    assert whole.metrics.read_text() == resumed.metrics.read_text()
