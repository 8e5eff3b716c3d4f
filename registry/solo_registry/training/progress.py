"""What a training run shows while it runs: a line per epoch, a live bar, and the curves so far."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console

from solo_registry.paths import exists
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.callbacks import CostFile, measured

REDRAW = 30.0  # seconds of training between two drawings of the curves, at least
SHARE = 20  # times the seconds that the last drawing took


def spell_time(seconds: float) -> str:
    """Write a time that is left.

    >>> [spell_time(each) for each in (3.2, 75, 7300)]
    ['3 s', '1 min 15 s', '2 h 1 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class EpochLines(Callback):
    """One plain line per epoch; on a terminal the lines stay above the bar."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.done = 0
        self.began = self.epoch_began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a run that goes on inside an epoch does not start that epoch."""
        self.began = self.epoch_began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self.epoch_began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's main numbers and times."""
        if not trainer.is_global_zero:
            return
        metrics = measured(trainer)
        own = [key for key in metrics if key.endswith("_loss_epoch") and "class" not in key]
        parts = (
            [f"loss {metrics[own[-1]]:.3f}"] if own else []
        )  # the method's own, whatever its name
        accuracies = {"train": "train_acc1_epoch", "val": "val_acc1"}
        probe = [
            f"{name} {metrics[key]:.1f} %" for name, key in accuracies.items() if key in metrics
        ]
        if probe:
            parts.append(f"online probe {' '.join(probe)}")
        if "val_knn_acc1" in metrics:
            parts.append(f"online kNN val {metrics['val_knn_acc1']:.1f} %")
        now, epoch, last = time.perf_counter(), trainer.current_epoch + 1, trainer.max_epochs or 0
        self.done += 1
        parts.append(f"{now - self.epoch_began:.1f} s")
        if epoch < last:
            left = (now - self.began) / self.done * (last - epoch)
            parts.append(f"{spell_time(left)} left")
        self.console.print(
            f"epoch {epoch}/{last}  {'  '.join(parts)}", soft_wrap=True, highlight=False
        )


class EpochBar(RichProgressBar):
    """Lightning's bar, with epochs counted from 1."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Leave the numbers to the lines."""
        return {}


class LiveCurves(Callback):
    """Draws plots/training.png now and then, for a small share of the training's time.

    Args:
        run: the folder.
        cost: does not count the seconds of drawing.
    """

    def __init__(self, run: RunFolder, cost: CostFile) -> None:
        self.run, self.cost = run, cost
        self.next = time.perf_counter() + REDRAW

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if enough time has passed; a picture that fails is left out with a warning."""
        began = time.perf_counter()
        if not trainer.is_global_zero or began < self.next or not exists(self.run.metrics):
            return
        from solo_registry.plots.curves import training_curves
        from solo_registry.plots.style import attempt

        attempt(training_curves, self.run.metrics, self.run.plots / "training.png")
        took = time.perf_counter() - began
        self.cost.leave_out(took)
        self.next = time.perf_counter() + max(REDRAW, SHARE * took)
