"""Ending a training whose loss or weights are no longer finite, before it is validated or saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from solo_registry.errors import UserError

NEVER = 2**62  # more steps than any run has


class Divergence(Callback):
    """Raises a UserError at the first loss that is not finite, and where weights are not.

    Every loss is looked at on the device where it lies, which makes nobody wait. The outcome is
    read after each step by a single process on a CPU; on a GPU, and by several processes together,
    every `log_every_n_steps` batches and after the last batch of an epoch. The step that is named
    is the first one, in whichever process it was, and all processes end.

    After the last batch of an epoch, before validation and the checkpoint, the weights and buffers
    are looked at too: the step that breaks them can have a finite loss. So a checkpoint never holds
    weights that are not finite. Gradients are not looked at: in float16 they overflow now and then,
    and the scaler skips such a step.

    Args:
        saved: the checkpoint of the last finished epoch.
        hint: what to try.
    """

    def __init__(self, saved: Path, hint: str) -> None:
        self.saved, self.hint = saved, hint
        self.rates: dict[int, float] = {}  # learning rate of each step since the last look
        self.step = 0
        self.first = torch.tensor(NEVER)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the first bad step where the losses are."""
        self.first = torch.tensor(NEVER, device=pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate; after the step it is the next one's."""
        self.step = trainer.global_step + 1
        self.rates[self.step] = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Look at the loss, and from time to time at what was seen."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            step = torch.where(loss.isfinite().all(), NEVER, self.step)
            self.first = torch.minimum(self.first, step.to(self.first.device))
        alone = trainer.world_size == 1 and self.first.device.type == "cpu"
        due = (batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0  # type: ignore[attr-defined]
        if alone or due or trainer.is_last_batch:
            self.check(trainer, pl_module, weights=trainer.is_last_batch)

    def check(self, trainer: Trainer, model: LightningModule, *, weights: bool) -> None:
        """Compare what all processes saw, and end them all if one saw something.

        Raises:
            UserError: in the first process; the others exit without a word.
        """
        whole = all_finite(model) if weights else torch.ones((), device=self.first.device)
        seen = torch.stack([self.first, whole.to(self.first)])
        first, good = trainer.strategy.reduce(seen, reduce_op="min").tolist()
        if first == NEVER and good:
            self.rates.clear()
            return
        if not trainer.is_global_zero:
            raise SystemExit(2)
        if first != NEVER:
            what, step = f"the loss of step {first} is not finite", first
        else:
            what, step = f"after step {self.step} weights are not finite", self.step
        raise UserError(self.told(what, trainer, self.rates.get(step, 0.0)))

    def told(self, what: str, trainer: Trainer, lr: float) -> str:
        """Say in one paragraph what happened, what is saved and what to try."""
        kept = f"{self.saved} keeps the last finished epoch"
        return (
            f"training diverged: {what} (epoch {trainer.current_epoch + 1} of "
            f"{trainer.max_epochs}, learning rate {lr:g}). "
            f"{kept if self.saved.exists() else 'No epoch was finished'}. What helps: {self.hint}"
        )


def all_finite(module: nn.Module) -> Tensor:
    """Whether all weights and buffers of a checkpoint are finite: a scalar on their device.

    >>> bool(all_finite(nn.BatchNorm1d(2)))
    True
    """
    values = [value for value in module.state_dict().values() if isinstance(value, Tensor)]
    return torch.stack([value.isfinite().all() for value in values]).all()


def told_of_divergence(trainer: Trainer, model: LightningModule, error: Exception) -> str | None:
    """Say that an error came of weights or features that are not finite, or return None.

    A method may stumble over them, a matrix that has no decomposition, before its loss is known.
    """
    no_decomposition: type = torch.linalg.LinAlgError  # type: ignore[attr-defined]
    if not isinstance(error, no_decomposition) and bool(all_finite(model)):
        return None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Divergence):
            reason = " ".join(str(error).split())[:200]
            what = f"step {callback.step} cannot be taken: {reason}"
            return callback.told(what, trainer, callback.rates.get(callback.step, 0.0))
    return None


def check_outputs(label: str, *outputs: Tensor) -> None:
    """Refuse what a network makes of images if it is not finite.

    Args:
        label: what the network is, for the text.
        outputs: features or scores.

    Raises:
        UserError: a value is NaN or infinite.
    """
    bad = sum(int((~output.isfinite()).sum()) for output in outputs)
    if bad:
        raise UserError(
            f"{label}: {bad} of {sum(map(Tensor.numel, outputs))} values that the network makes of "
            "the images are NaN or infinite, so there is nothing to measure: training has "
            "diverged. Train again with a lower learning rate"
        )
