"""SwAV (Caron et al. 2020, arXiv 2006.09882)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import SwaVLoss
from lightly.models.modules.heads import SwaVProjectionHead
from lightly.utils.dist import rank, world_size
from omegaconf import DictConfig
from torch import Tensor
from torch.optim import Optimizer

from solo_registry.losses import unit
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.heads import Prototypes
from solo_registry.methods.parts.method import MethodMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size


class SwAVMixin(MethodMixin):
    """SwAV over any base class; several views and multi-crop.

    Codes are computed over the rows of all processes and, from `epoch_queue_starts` on, the queue.

    `method_kwargs`: `proj_hidden_dim`, `proj_output_dim`, `num_prototypes`, `temperature`,
    `sk_iters` and `sk_epsilon` (Sinkhorn-Knopp), `queue_size` (a multiple of the batch over all
    devices, 0 is no queue), `epoch_queue_starts`, `freeze_prototypes_epochs` (first epochs in which
    the prototypes rest).
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "proj_hidden_dim": 2048,
        "proj_output_dim": 128,
        "num_prototypes": 3000,
        "temperature": 0.1,
        "sk_iters": 3,
        "sk_epsilon": 0.05,
        "queue_size": None,
        "epoch_queue_starts": 15,
        "freeze_prototypes_epochs": 1,
    }

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "prototypes")
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = (
        "queue_size",
        "epoch_queue_starts",
        "freeze_prototypes_epochs",
    )
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim, size = kwargs.proj_output_dim, queue_size(cfg, or_none=True)
        self.projector = SwaVProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.prototypes = Prototypes(dim, kwargs.num_prototypes)
        self.queue = KeyQueue(self.num_large_crops, dim, size) if size else None

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the normalised projections `z` (N, D) and their similarities `p` (N, K)."""
        z = unit(self.projector(feats))
        return {"z": z, "p": self.prototypes(z)}

    def queued(self) -> list[Tensor] | None:
        """Return this process's share of the queue against the prototypes, for each large crop."""
        if self.queue is None or self.current_epoch < self.cfg.method_kwargs.epoch_queue_starts:
            return None
        return [self.prototypes(keys.T[rank() :: world_size()]) for keys in self.queue.keys]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: every crop predicts the codes of every other large crop (eq. 1 and 2)."""
        out = super().training_step(batch, batch_idx)
        kwargs, large = self.cfg.method_kwargs, self.num_large_crops
        criterion = SwaVLoss(
            kwargs.temperature,
            sinkhorn_iterations=kwargs.sk_iters,
            sinkhorn_epsilon=kwargs.sk_epsilon,
            sinkhorn_gather_distributed=world_size() > 1,
        )
        loss = criterion(out["p"][:large], out["p"][large:], self.queued()).squeeze()
        if self.queue is not None:
            self.queue.enqueue(*(z.detach() for z in out["z"][:large]))
        return self.total(out, loss, "swav")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let the prototypes rest in the first epochs."""
        super().on_before_optimizer_step(optimizer)
        if self.current_epoch < self.cfg.method_kwargs.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None


class SwAV(SwAVMixin, BaseMethod):
    """SwAV on our own engine."""
