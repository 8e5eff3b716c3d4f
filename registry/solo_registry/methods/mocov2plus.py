"""MoCo v2+ (Chen et al. 2020, arXiv 2003.04297; symmetric as in Chen & He 2021, 2011.10566)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.losses import infonce_queue
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.heads import projector
from solo_registry.methods.parts.kwargs import QUEUE_SIZE, projector_widths, softmax_temperature
from solo_registry.methods.parts.method import ContrastiveMixin, MomentumProjectorMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size
from solo_registry.metrics.pair_mask import ComparedPairs


class MoCoV2PlusMixin(ContrastiveMixin, MomentumProjectorMixin):
    """MoCo v2+ over any momentum base class; exactly two views."""

    ONE_IMAGE: ClassVar[bool] = True
    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 256),
        **softmax_temperature(0.2),
        "queue_size": QUEUE_SIZE,
    }

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = projector(self.features_dim, kwargs)
        self.momentum_projector = momentum_copy(self.projector)
        self.queue = KeyQueue(2, kwargs.proj_output_dim, queue_size(cfg))

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the normalised queries `z` (N, D)."""
        return {"z": F.normalize(self.projector(feats), dim=-1)}

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Any]:
        """Normalises the keys `z` (N, D)."""
        out = super().momentum_forward(X)
        return {**out, "z": F.normalize(out["z"], dim=-1)}

    def contrastive_loss(
        self, query: Tensor, key: Tensor, queue: Tensor, indexes: Tensor
    ) -> Tensor:
        """Compare `query` (N, D) of images `indexes` (N,) with `key` (N, D) and `queue` (D, K)."""
        return infonce_queue(query, key, queue, self.cfg.method_kwargs.temperature)

    def chance_loss(self) -> float | None:
        """Return ln(K + 1): the positive and the queue."""
        return math.log(self.queue.keys.shape[2] + 1)

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return the queries against the batch's keys, which stand in for the unlabelled queue."""
        return ComparedPairs.paired(outs["z"][0], outs["momentum_z"][1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the symmetric contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        (q1, q2), (k1, k2) = out["z"], out["momentum_z"]
        queue = self.queue.keys.clone()  # the backward pass needs it after `enqueue`
        nce_loss = 0.5 * (
            self.contrastive_loss(q1, k2, queue[1], batch[0])
            + self.contrastive_loss(q2, k1, queue[0], batch[0])
        )
        self.queue.enqueue(k1, k2)
        return self.total(out, nce_loss, "nce")


class MoCoV2Plus(MoCoV2PlusMixin, BaseMomentumMethod):
    """MoCo v2+ on our own engine."""
