"""SwAV (Caron et al. 2020, arXiv 2006.09882)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from lightly.loss import SwaVLoss
from lightly.models.modules.heads import SwaVProjectionHead
from lightly.utils.dist import rank, world_size
from omegaconf import DictConfig
from torch import Tensor
from torch.optim import Optimizer

from solo_registry.catalog.kwargs import COUNT, Kwarg
from solo_registry.losses import normalize
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.heads import Prototypes
from solo_registry.methods.parts.kwargs import QUEUE_SIZE, projector_widths, softmax_temperature
from solo_registry.methods.parts.method import MethodMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size


class SwAVMixin(MethodMixin):
    """SwAV over any base class; several views and multi-crop.

    The codes are computed over the rows of all processes and, from epoch `epoch_queue_starts` on,
    over the queue too.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 128),
        "num_prototypes": Kwarg(3000, "Number of prototypes.", **COUNT),
        **softmax_temperature(0.1),
        "sk_iters": Kwarg(3, "Iterations of Sinkhorn-Knopp.", above=0, most=1000),
        "sk_epsilon": Kwarg(0.05, "Smoothness of the codes in Sinkhorn-Knopp.", above=0),
        "queue_size": replace(
            QUEUE_SIZE, help=f"{QUEUE_SIZE.help} 0 is no queue.", above=None, least=0
        ),
        "epoch_queue_starts": Kwarg(15, "First epoch that uses the queue, from 0 on.", least=0),
        "freeze_prototypes_epochs": Kwarg(
            1, "First epochs in which the prototypes are not trained.", least=0
        ),
    }

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "prototypes")
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim, size = kwargs.proj_output_dim, queue_size(cfg)
        self.projector = SwaVProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.prototypes = Prototypes(dim, kwargs.num_prototypes)
        self.queue = KeyQueue(self.num_large_crops, dim, size) if size else None

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the normalised projections `z` (N, D) and their similarities `p` (N, K)."""
        z = normalize(self.projector(feats))
        return {"z": z, "p": self.prototypes(z)}

    def queued(self) -> list[Tensor] | None:
        """Return the similarities of this process's share of the queue, for each large crop."""
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
        """Freeze the prototypes in the first epochs."""
        super().on_before_optimizer_step(optimizer)
        if self.current_epoch < self.cfg.method_kwargs.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None


class SwAV(SwAVMixin, BaseMethod):
    """SwAV on our own engine."""
