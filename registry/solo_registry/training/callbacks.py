"""What happens around the epochs: seeds, metrics.csv, the checkpoint, cost, and how to go on."""

from __future__ import annotations

import io
import math
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from rich.console import Console

from solo_registry.runs.run_folder import atomic_write, write_json


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the last good one and swaps them, so that one is always whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save to `path`; on a full disk the file that was there stays."""
        buffer = io.BytesIO()  # torch's own file writer hides the reason of a failed write
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as part:
            part.write_bytes(buffer.getbuffer())


class SeedEpoch(Callback):
    """Makes every draw of an epoch a function of (seed, epoch, rank), whatever ran before."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed python, numpy and torch."""
        draw = f"{self.seed}/{trainer.current_epoch}/{trainer.global_rank}"
        seed_everything(zlib.crc32(draw.encode()), verbose=False)


def measured(trainer: Trainer) -> dict[str, float]:
    """Return what this epoch has measured; NaN means that there was nothing to (`RowMean`)."""
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


class MetricsFile(Callback):
    """Writes metrics.csv: one row per epoch, the same rows however often the run was resumed.

    What an epoch did not measure is an empty cell: validation between those of
    `check_val_every_n_epoch`, and what needs labels where no image has one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what the epochs before measured; Lightning would repeat it."""
        trainer.callback_metrics.clear()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add this epoch's row."""
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        for name, value in measured(trainer).items():
            if not name.endswith("_step"):
                row[name.removesuffix("_epoch")] = value
        self.rows.append(row)
        if trainer.is_global_zero:
            with atomic_write(self.path) as part:
                pd.DataFrame(self.rows).to_csv(part, index=False)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far travel in the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the checkpoint's last row."""
        self.rows = list(state_dict["rows"])


def peak_host_bytes() -> int | None:
    """Largest main memory of this process so far; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class CostFile(Callback):
    """Writes cost.json: seconds and peak memory of training, summed over resumed parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0
        self.started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = time.perf_counter() - self.seconds

    def leave_out(self, seconds: float) -> None:
        """Do not count seconds that just went by."""
        self.started += seconds

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what it cost so far."""
        self.seconds = time.perf_counter() - self.started
        if not trainer.is_global_zero:
            return
        on_gpu = pl_module.device.type == "cuda"
        cost = {
            "device": str(pl_module.device),
            "epochs": trainer.current_epoch + 1,
            "train_seconds": round(self.seconds, 3),
            "peak_host_bytes": peak_host_bytes(),
            "peak_gpu_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        }
        write_json(self.path, cost)

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far travel in the checkpoint."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the seconds of the parts before."""
        self.seconds = float(state_dict["seconds"])


class LastCheckpoint(Checkpoint):
    """Keeps a file at the last finished epoch, with the name of whose it is.

    Args:
        path: the file.
        identity: what `read_checkpoint` will ask for.
        every: epochs between saves; the last epoch is always saved.
        keep_all: keep epoch-<n>.ckpt beside it as well.
    """

    def __init__(self, path: Path, identity: str, every: int = 1, keep_all: bool = False) -> None:
        self.path, self.identity, self.every, self.keep_all = path, identity, every, keep_all

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save every so many epochs, and at the end."""
        done = trainer.current_epoch + 1
        if done % self.every and done != trainer.max_epochs:
            return
        trainer.save_checkpoint(self.path)
        if self.keep_all:
            trainer.save_checkpoint(self.path.with_name(f"epoch-{done}.ckpt"))

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mark whose checkpoint it is."""
        checkpoint["run"] = self.identity

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """After Ctrl-C, say what is saved and how to go on."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            saved = self.path.exists()
            print(
                f"\nStopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}. "
                + (f"Saved: {self.path}. " if saved else "No epoch was finished. ")
                + "The same command again goes on from there.",
                file=sys.stderr,
            )


class EpochLines(Callback):
    """One plain line per epoch, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's main numbers."""
        if not trainer.is_global_zero:
            return
        metrics = measured(trainer)
        own = [key for key in metrics if key.endswith("_loss_epoch") and "class" not in key]
        shown = {
            "loss": own[-1] if own else "",  # the method's, whatever its name
            "acc1": "train_acc1_epoch",
            "val_acc1": "val_acc1",
            "val_knn_acc1": "val_knn_acc1",
        }
        parts = [f"{label} {metrics[key]:.3f}" for label, key in shown.items() if key in metrics]
        done = trainer.current_epoch + 1
        self.console.print(f"epoch {done}/{trainer.max_epochs}  {'  '.join(parts)}", soft_wrap=True)
