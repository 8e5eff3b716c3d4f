"""Saves inside an epoch, at a signal or by the clock, so that a run goes on from that very step."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from solo_registry.processes import SIGNALS
from solo_registry.runs.lifetime import Signals
from solo_registry.training.divergence import Divergence

STEPS = 16  # after so many steps processes with GPUs agree on a save: to ask waits for the GPU
AGAIN = 1.0  # seconds; SLURM signals all processes of a job, and torchrun and we pass that on
TIME = 1  # asks for a save as a signal does, but nobody stops; no number of SIGNALS


class InsideEpoch(Callback):
    """Saves the state after a step, and puts it back when the run goes on from there.

    A checkpoint of Lightning holds weights, optimizer and schedule. This callback adds what an
    epoch in progress consists of besides: the position in the data, the random states, the sums of
    its measures, and the bank of online kNN, of every process.

    A signal is answered after the step in which it came; by several GPUs, after `STEPS` steps at
    most. All processes save together, and each then calls the handlers that were there before, of
    all signals that came: submitit's of SIGTERM does nothing, that of SIGUSR2 queues the job again.
    The same signal again, after a second, calls its handler at once.

    Args:
        path: the file.
        minutes: time between saves; None saves at a signal alone.
        divergence: looks for weights that are not finite before a save.
    """

    def __init__(self, path: Path, minutes: float | None, divergence: Divergence) -> None:
        self.path, self.minutes, self.divergence = path, minutes, divergence
        self.signals = Signals(self.ask)
        self.asked: dict[int, float] = {}  # signals that came, and when
        self.saving = False
        self.saved = 0.0  # when, by the clock
        self.loaded: dict[str, Any] = {}  # what a checkpoint held of this process
        self.sums: dict[str, dict[str, Tensor]] = {}  # not yet added to this part's

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Wait for signals, and for the end of each step."""
        if not pl_module.INSIDE_EPOCHS:
            return
        self.saved = time.monotonic()
        self.signals.__enter__()
        hook = pl_module.on_train_batch_end

        def and_then(outputs: Any, batch: Any, batch_idx: int) -> None:
            hook(outputs, batch, batch_idx)  # moves momentum networks
            self.after_step(trainer, pl_module, batch_idx)

        pl_module.on_train_batch_end = and_then
        if self.loaded:
            # Lightning has made the loader before it read the checkpoint
            trainer.train_dataloader.load_state_dict(self.loaded["loader"])  # type: ignore[union-attr]
        if bank := self.loaded.get("knn"):
            pl_module.knn.load_state_dict(bank)

    def ask(self, number: int, frame: Any) -> None:
        """Handle a signal: ask for a save; at the same one again, do what was done before."""
        now = time.monotonic()
        if now - self.asked.setdefault(number, now) > AGAIN:
            self.signals.obey([number])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the random states back: what came before, such as starting the loader, draws too."""
        if self.loaded:
            load_random_states(self.loaded["random"], pl_module.device)
            self.sums, self.loaded = self.loaded["sums"], {}

    def after_step(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> None:
        """Add the sums of the part before to this part's; save if a process was asked to."""
        for key, metric in running(trainer) if self.sums else ():
            for name, total in self.sums.pop(key, {}).items():
                setattr(metric, name, total.to(pl_module.device) + getattr(metric, name))
        done = batch_idx + 1
        if trainer.is_last_batch or done % trainer.accumulate_grad_batches:
            return  # the end of the epoch saves; between two steps there are gradients
        if trainer.world_size > 1 and pl_module.device.type == "cuda" and done % STEPS:
            return
        if asked := self.together(trainer, pl_module.device):
            self.divergence.check(trainer, pl_module, weights=True)
            self.saving = True
            trainer.save_checkpoint(self.path)
            self.saving = False
            self.answer(asked)

    def due(self) -> bool:
        """Whether it is time to save."""
        return self.minutes is not None and time.monotonic() - self.saved >= 60 * self.minutes

    def together(self, trainer: Trainer, device: torch.device) -> list[int]:
        """Return what any process was asked: numbers of signals, and TIME."""
        asked = [number in self.asked for number in SIGNALS] + [self.due()]
        if trainer.world_size > 1:
            flags = torch.tensor(asked, dtype=torch.uint8, device=device)
            asked = trainer.strategy.reduce(flags, reduce_op="max").tolist()
        return [number for number, yes in zip([*SIGNALS, TIME], asked, strict=True) if yes]

    def answer(self, asked: list[int]) -> None:
        """After a save, start the clock again, and obey the signals that asked for it."""
        self.saved = time.monotonic()
        for number in asked:
            self.asked.pop(number, None)
        self.signals.obey(number for number in asked if number != TIME)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what the epoch in progress consists of, for each process."""
        if not self.saving:
            return
        bank = getattr(pl_module, "knn", None)
        own = {
            "loader": trainer.train_dataloader.state_dict(),  # type: ignore[union-attr]
            "random": random_states(pl_module.device),
            "sums": {
                key: {name: total.cpu() for name, total in metric.metric_state.items()}
                for key, metric in running(trainer)
            },
            "knn": bank.state_dict() if bank is not None else None,
        }
        checkpoint["inside"] = [own]
        if trainer.world_size > 1:
            checkpoint["inside"] = [None] * trainer.world_size
            dist.all_gather_object(checkpoint["inside"], own)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this process's part."""
        if "inside" in checkpoint:
            self.loaded = checkpoint["inside"][trainer.global_rank]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Obey the signals that came when all was saved."""
        self.signals.obey(number for number in SIGNALS if number in self.asked)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Restore the handlers and the hook."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the handlers and the hook."""
        self.signals.__exit__()
        vars(pl_module).pop("on_train_batch_end", None)


def running(trainer: Trainer) -> Iterator[tuple[str, Any]]:
    """Yield the metrics of the epoch in progress by the key that Lightning knows them by."""
    for key, item in trainer.fit_loop.epoch_loop._results.items():
        if item.meta.on_epoch and not item.has_reset:
            yield key, item if item.is_tensor else item.value


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of torch, numpy and python, as tensors and plain values."""
    numpy: Any = np.random.get_state()
    name, keys, *rest = numpy
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "python": random.getstate(),
    }


def load_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the states back that `random_states` returned.

    >>> states = random_states(torch.device("cpu"))
    >>> drawn = torch.rand(1), np.random.rand(), random.random()
    >>> load_random_states(states, torch.device("cpu"))
    >>> drawn == (torch.rand(1), np.random.rand(), random.random())
    True
    """
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
