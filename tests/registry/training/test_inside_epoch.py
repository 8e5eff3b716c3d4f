"""A run that is stopped inside an epoch goes on from that step, to the same bytes."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training import inside_epoch
from solo_registry.training.divergence import Divergence
from solo_registry.training.inside_epoch import InsideEpoch

Tiny = Callable[..., DictConfig]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
# 359 images in 11 batches of 32; dropout draws in every step
WORDS = (
    "max_epochs=2", "data.fraction=0.25", "optimizer.batch_size=32", "telemetry.every_n_epochs=1",
    "telemetry.images=32", "knn_eval.enabled=true", "evaluation.enabled=false",
)  # fmt: skip
VIT = {
    "name": "vit_tiny",
    "kwargs": {
        "depth": 2, "embed_dim": 16, "num_heads": 2, "patch_size": 2, "proj_drop_rate": 0.2,
        "drop_path_rate": 0.2,
    },
}  # fmt: skip


def with_dropout(given: DictConfig) -> DictConfig:
    given.backbone = VIT
    return given


@pytest.fixture(autouse=True)
def stops() -> Iterator[None]:
    """Let SIGTERM stop this process as it stops the command."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
    signal.signal(signal.SIGTERM, before)


def stopped(
    monkeypatch: pytest.MonkeyPatch,
    given: DictConfig,
    step: int,
    number: int = signal.SIGTERM,
    times: int = 1,
) -> None:
    """Train until a signal comes in a step (from 0); whatever ran before must not matter."""
    start = Divergence.on_train_batch_start

    def then_kill(self: Any, trainer: Any, *args: Any) -> None:
        start(self, trainer, *args)
        for _ in range(times if trainer.global_step == step else 0):
            os.kill(os.getpid(), number)

    torch.manual_seed(step)
    with monkeypatch.context() as patch:
        patch.setattr(Divergence, "on_train_batch_start", then_kill)
        with pytest.raises(SystemExit) as ended:
            pretrain(given)
    assert ended.value.code == 130


def content(run: RunFolder) -> dict[str, Any]:
    names = ("metrics.csv", "mechanism.parquet", "trajectory.parquet")
    found: dict[str, Any] = {name: (run.path / name).read_bytes() for name in names}
    state = read_checkpoint(run.checkpoint)
    assert not run.inside.exists()
    return found | {key: state[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


@pytest.mark.slow
def test_stops_inside_epochs_leave_no_trace(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*WORDS, "data.num_workers=1")
    unbroken = pretrain(with_dropout(tiny("mocov2plus_dyntemp", *words)))
    broken = with_dropout(tiny("mocov2plus_dyntemp", *words, f"runs_dir={tmp_path}/broken"))
    run = RunFolder(tmp_path / "broken" / unbroken.path.relative_to(tiny("simclr").runs_dir))
    stopped(monkeypatch, broken, 2)
    assert run.inside.exists() and not run.checkpoint.exists()
    assert read_checkpoint(run.inside)["global_step"] == 3
    stopped(monkeypatch, broken, 10)  # the last step of the first epoch, which then ends
    assert run.checkpoint.exists() and not run.inside.exists()
    stopped(monkeypatch, broken, 15, signal.SIGUSR2)
    assert read_checkpoint(run.inside)["global_step"] == 16
    told = Console(file=io.StringIO(), width=200)
    broken.progress = "lines"
    assert same(content(pretrain(broken, told)), content(unbroken))
    (seconds,) = re.findall(r"epoch 2/2 .* ([\d.]+) s$", told.file.getvalue(), re.MULTILINE)  # type: ignore[attr-defined]
    assert float(seconds) < 300  # of this part alone


@pytest.mark.slow
def test_a_second_signal_stops_without_a_save(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside_epoch, "AGAIN", 0.0)
    stopped(monkeypatch, tiny("simclr", *WORDS), 2, times=2)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_each_signal_that_came_gets_its_answer_after_the_save(tmp_path: Path) -> None:
    """SLURM sends SIGTERM and SIGUSR2 together, and submitit queues a job again at the second."""
    called: list[int] = []
    both = (signal.SIGTERM, signal.SIGUSR2)
    before = {n: signal.signal(n, lambda number, frame: called.append(number)) for n in both}
    inside = InsideEpoch(tmp_path / "inside.ckpt", None, Divergence(tmp_path / "last.ckpt", ""))
    alone: Any = SimpleNamespace(world_size=1)
    try:
        with inside.signals:
            for number in (*both, *both):  # from SLURM, and passed on by a process above
                os.kill(os.getpid(), number)
            asked = inside.together(alone, torch.device("cpu"))
            assert called == []
            inside.answer(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert called == asked == list(both)
    assert inside.together(alone, torch.device("cpu")) == []


@pytest.mark.nightly
@pytest.mark.slow
def test_a_handler_that_returns_lets_the_run_go_on(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """submitit's handler of SIGTERM does nothing."""
    called: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: called.append(number))
    try:
        unbroken = content(pretrain(tiny("simclr", *WORDS)))
        start = Divergence.on_train_batch_start

        def then_signal(self: Any, trainer: Any, *args: Any) -> None:
            start(self, trainer, *args)
            if trainer.global_step in (2, 3):
                os.kill(os.getpid(), signal.SIGUSR1)

        monkeypatch.setattr(Divergence, "on_train_batch_start", then_signal)
        found = pretrain(tiny("simclr", *WORDS, f"runs_dir={tmp_path}/again"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert called == [signal.SIGUSR1] * 2 and same(content(found), unbroken)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("accumulate_grad_batches=2", "precision=bf16-mixed")])
def test_twenty_of_twenty_stops_lead_to_the_same_bytes(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    words = (*WORDS, "max_epochs=4", "optimizer.micro_batch_size=16", *words)
    unbroken = pretrain(with_dropout(tiny("simclr_dyntemp", *words)))
    steps = read_checkpoint(unbroken.checkpoint)["global_step"]
    broken = with_dropout(tiny("simclr_dyntemp", *words, f"runs_dir={tmp_path}/broken"))
    chosen = torch.randperm(steps - 1, generator=torch.Generator().manual_seed(0))[:20]
    for step in sorted(chosen.tolist()):
        stopped(monkeypatch, broken, step)
    assert same(content(pretrain(broken)), content(unbroken))
