"""Ends a training run whose loss or weights are not finite, before it is validated or saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from solo_registry.errors import UserError
from solo_registry.paths import exists

NEVER = 2**62  # more steps than any run has


class Divergence(Callback):
    """Raises a UserError at the first loss that is not finite, and for weights that are not.

    Every loss is checked on its device, so that no step waits. A single process on a CPU reads the
    outcome after each step. On a GPU, and with several processes, it is read every
    `log_every_n_steps` batches and after the last batch of an epoch. The message names the first
    bad step of any process, and all processes end.

    After the last batch of an epoch, before validation and the checkpoint, weights and buffers are
    checked too, because a step with a finite loss can break them. So a checkpoint never contains
    weights that are not finite. Gradients are not checked: in float16 they overflow now and then,
    and the scaler skips such a step.

    Args:
        saved: the checkpoint of the last finished epoch.
        hint: what to try, for the message.
    """

    def __init__(self, saved: Path, hint: str) -> None:
        self.saved, self.hint = saved, hint
        self.rates: dict[int, float] = {}  # learning rate of each step since the last check
        self.step = 0
        self.first = torch.tensor(NEVER)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Create the record of the first bad step on the device of the losses."""
        self.first = torch.tensor(NEVER, device=pl_module.device)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Record the learning rate; after the step the optimizer has that of the next step."""
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
        """Check the loss on its device, and read the outcome from time to time."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            step = torch.where(loss.isfinite().all(), NEVER, self.step)
            self.first = torch.minimum(self.first, step.to(self.first.device))
        alone = trainer.world_size == 1 and self.first.device.type == "cpu"
        due = (batch_idx + 1) % max(1, trainer.log_every_n_steps) == 0  # type: ignore[attr-defined]
        if alone or due or trainer.is_last_batch:
            self.check(trainer, pl_module, weights=trainer.is_last_batch)

    def check(self, trainer: Trainer, model: LightningModule, *, weights: bool) -> None:
        """Combine the records of all processes, and end all of them if one has a bad step.

        Raises:
            UserError: in the first process; the others exit without a message.
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
        """Return one paragraph: what happened, what is saved and what to try."""
        kept = f"{self.saved} keeps the last finished epoch"
        return (
            f"training diverged: {what} (epoch {trainer.current_epoch + 1} of "
            f"{trainer.max_epochs}, learning rate {lr:g}). "
            f"{kept if exists(self.saved) else 'No epoch was finished'}. What helps: {self.hint}"
        )


def all_finite(module: nn.Module) -> Tensor:
    """Whether all weights and buffers of a module are finite: a scalar on their device.

    >>> bool(all_finite(nn.BatchNorm1d(2)))
    True
    """
    values = [value for value in module.state_dict().values() if isinstance(value, Tensor)]
    return torch.stack([value.isfinite().all() for value in values]).all()


def told_of_divergence(trainer: Trainer, model: LightningModule, error: Exception) -> str | None:
    """Return a message if an error was caused by values that are not finite, else None.

    A method can fail on such values before its loss is known, for example in a decomposition.
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
    """Refuse the outputs of a network if a value is not finite.

    Args:
        label: name of the network, for the message.
        outputs: features or scores.

    Raises:
        UserError: a value is NaN or infinite.
    """
    bad = sum(int((~output.isfinite()).sum()) for output in outputs)
    if bad:
        raise UserError(
            f"{label}: {bad} of {sum(map(Tensor.numel, outputs))} values that the network computes "
            "from the images are NaN or infinite, so there is nothing to measure: training has "
            "diverged. Train again with a lower learning rate"
        )
