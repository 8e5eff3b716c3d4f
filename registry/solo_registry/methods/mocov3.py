"""MoCo v3 (Chen et al. 2021, arXiv 2104.02057)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from solo_registry.losses import infonce_paired
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.heads import mlp
from solo_registry.methods.parts.kwargs import (
    predictor_width,
    projector_widths,
    softmax_temperature,
)
from solo_registry.methods.parts.method import ContrastiveMixin, MomentumProjectorMixin
from solo_registry.metrics.pair_mask import ComparedPairs


class MoCoV3Mixin(ContrastiveMixin, MomentumProjectorMixin):
    """MoCo v3 over any momentum base class; exactly two views.

    As in solo-learn, ResNets get a projector of 2 layers and a predictor without a last norm; other
    backbones get 3 layers and a last norm.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(4096, 256),
        **predictor_width(4096),
        **softmax_temperature(0.2),
    }

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "predictor")

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs, convolutional = cfg.method_kwargs, "resnet" in cfg.backbone.name
        hidden = [kwargs.proj_hidden_dim] * (1 if convolutional else 2)
        self.projector = mlp(self.features_dim, *hidden, kwargs.proj_output_dim, last_norm=True)
        self.momentum_projector = momentum_copy(self.projector)
        self.predictor = mlp(
            kwargs.proj_output_dim,
            kwargs.pred_hidden_dim,
            kwargs.proj_output_dim,
            last_norm=not convolutional,
        )

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the projections `z` and the queries `q`, (N, D) each."""
        z = self.projector(feats)
        return {"z": z, "q": self.predictor(z)}

    def loss_scale(self) -> float:
        """Return the factor 2 tau of MoCo v3's loss."""
        tau: float = self.cfg.method_kwargs.temperature
        return 2 * tau

    def contrastive_loss(self, query: Tensor, key: Tensor, indexes: Tensor) -> Tensor:
        """Compare `query` (N, D) of the images `indexes` (N,) with all keys (N, D); times 2 tau."""
        loss = infonce_paired(query, key, self.cfg.method_kwargs.temperature)
        return self.loss_scale() * loss

    def chance_loss(self) -> float | None:
        """Return the scaled ln N of both directions: a query is compared with all keys."""
        return 2 * self.loss_scale() * math.log(self.images_a_step())

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return the queries of the first views against the keys of the second views."""
        return ComparedPairs.paired(outs["q"][0], outs["momentum_z"][1])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the contrastive losses of both directions plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        (q1, q2), (k1, k2) = out["q"], out["momentum_z"]
        nce_loss = self.contrastive_loss(q1, k2, batch[0]) + self.contrastive_loss(q2, k1, batch[0])
        return self.total(out, nce_loss, "nce")


class MoCoV3(MoCoV3Mixin, BaseMomentumMethod):
    """MoCo v3 on our own engine."""
