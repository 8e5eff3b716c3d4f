"""Callbacks of a training run: seeds, metrics.csv, checkpoint, cost.json and progress lines."""

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

from solo_registry.runs.read import csv_text
from solo_registry.runs.run_folder import atomic_write, write_json, write_text
from solo_registry.training.inside_epoch import InsideEpoch


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the last one, then renames it, so that one is always complete."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save to `path`; on a full disk the old file stays."""
        buffer = io.BytesIO()  # torch's own file writer hides the reason of a failed write
        torch.save(checkpoint, buffer)
        with atomic_write(Path(path)) as part:
            part.write_bytes(buffer.getbuffer())


class SeedEpoch(Callback):
    """Seeds each epoch, so that its draws are a function of (seed, epoch, rank) only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed python, numpy and torch."""
        draw = f"{self.seed}/{trainer.current_epoch}/{trainer.global_rank}"
        seed_everything(zlib.crc32(draw.encode()), verbose=False)


def measured(trainer: Trainer) -> dict[str, float]:
    """Return the measures of this epoch, without those that `RowMean` gives as NaN (no rows)."""
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value for name, value in values.items() if not math.isnan(value)}


class MetricsFile(Callback):
    """Writes metrics.csv: one row per epoch, the same rows however often the run is resumed.

    What an epoch did not measure is an empty cell: validation between the epochs of
    `check_val_every_n_epoch`, and measures that need labels if no image has one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the measures of earlier epochs, which Lightning would repeat."""
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
            write_text(self.path, csv_text(pd.DataFrame(self.rows)))

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, for the checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the checkpoint's last row."""
        self.rows = list(state_dict["rows"])


def peak_host_bytes() -> int | None:
    """Return the peak main memory of this process in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

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
        """Do not count the last `seconds`."""
        self.started += seconds

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the cost so far."""
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
        """Return the seconds so far, for the checkpoint."""
        return {"seconds": time.perf_counter() - self.started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the seconds of the earlier parts of the run."""
        self.seconds = float(state_dict["seconds"])


class LastCheckpoint(Checkpoint):
    """Keeps the checkpoint of the last finished epoch, marked with the identity of its run.

    Args:
        path: the file.
        identity: hash and seed of the run; `read_checkpoint` compares it.
        inside: saves inside an epoch, if the run does; its file goes when the epoch is saved.
        every: epochs between saves; the last epoch is always saved.
        keep_all: keep epoch-<n>.ckpt beside it as well.
    """

    def __init__(
        self,
        path: Path,
        identity: str,
        inside: InsideEpoch | None = None,
        every: int = 1,
        keep_all: bool = False,
    ) -> None:
        self.path, self.identity, self.inside = path, identity, inside
        self.every, self.keep_all = every, keep_all

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save every so many epochs, at the end, and after a signal, which is then obeyed."""
        done = trainer.current_epoch + 1
        asked = self.inside.together(trainer, pl_module.device) if self.inside else []
        if done % self.every and done != trainer.max_epochs and not asked:
            return
        if self.keep_all:  # first: a run that is killed in between does this epoch again
            trainer.save_checkpoint(self.path.with_name(f"epoch-{done}.ckpt"))
        trainer.save_checkpoint(self.path)
        if self.inside:
            if trainer.is_global_zero:
                self.inside.path.unlink(missing_ok=True)
            self.inside.answer(asked)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write the run's identity into the checkpoint."""
        checkpoint["run"] = self.identity

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """After Ctrl-C, print what is saved and how to resume."""
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            places = (self.inside.path, self.path) if self.inside else (self.path,)
            saved = next(filter(Path.exists, places), None)
            print(
                f"\nStopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs}. "
                + (f"Saved: {saved}. " if saved else "No epoch was finished. ")
                + "The same command resumes from there.",
                file=sys.stderr,
            )
