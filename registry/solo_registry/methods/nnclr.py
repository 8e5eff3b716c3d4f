"""NNCLR (Dwibedi et al. 2021, arXiv 2104.14548)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch.nn.functional as F
from lightly.models.modules.heads import NNCLRPredictionHead, NNCLRProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.losses import infonce_paired
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import (
    QUEUE_SIZE,
    predictor_width,
    projector_widths,
    softmax_temperature,
)
from solo_registry.methods.parts.method import ContrastiveMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size
from solo_registry.metrics.pair_mask import ComparedPairs


class NNCLRMixin(ContrastiveMixin):
    """NNCLR over any base class; exactly two views."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 256),
        **predictor_width(4096),
        **softmax_temperature(0.2),
        "queue_size": QUEUE_SIZE,
    }

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "predictor")

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim = kwargs.proj_output_dim
        self.projector = NNCLRProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.predictor = NNCLRPredictionHead(dim, kwargs.pred_hidden_dim, dim)
        self.queue = KeyQueue(1, dim, queue_size(cfg))

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the normalised projections `z` and the predictions `p`, (N, D) each."""
        z = self.projector(feats)
        return {"z": F.normalize(z, dim=-1), "p": self.predictor(z)}

    def contrastive_loss(self, neighbour: Tensor, prediction: Tensor, indexes: Tensor) -> Tensor:
        """Compare the neighbours (N, D) of the images `indexes` (N,) with all predictions."""
        return infonce_paired(neighbour, prediction, self.cfg.method_kwargs.temperature)

    def chance_loss(self) -> float | None:
        """Return ln N: a neighbour is compared with all predictions of the other view."""
        return math.log(self.images_a_step())

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return the first views' neighbours against the predictions of the second views."""
        return ComparedPairs.paired(self.queue.nearest(outs["z"][0]), outs["p"][1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the symmetric contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        (z1, z2), (p1, p2) = out["z"], out["p"]
        nce_loss = 0.5 * (
            self.contrastive_loss(self.queue.nearest(z1), p2, batch[0])
            + self.contrastive_loss(self.queue.nearest(z2), p1, batch[0])
        )
        self.queue.enqueue(z1)
        return self.total(out, nce_loss, "nce")


class NNCLR(NNCLRMixin, BaseMethod):
    """NNCLR on our own engine."""
