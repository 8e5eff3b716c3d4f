"""BYOL (Grill et al. 2020, arXiv 2006.07733)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from lightly.utils.debug import std_of_l2_normalized
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.kwargs import predictor_width, projector_widths
from solo_registry.methods.parts.method import MethodMixin, MomentumProjectorMixin


class BYOLMixin(MethodMixin, MomentumProjectorMixin):
    """BYOL over any momentum base class; multi-crop too.

    The loss is solo-learn's: 2 - 2 cos, summed over the pairs of a large crop, projected by the
    moving average, and another crop's prediction. Eq. 2 is the loss of one such pair.
    """

    KWARGS: ClassVar[dict[str, Any]] = {**projector_widths(4096, 256), **predictor_width(4096)}

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "predictor")
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim = kwargs.proj_output_dim
        self.projector = BYOLProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.momentum_projector = momentum_copy(self.projector)
        self.predictor = BYOLPredictionHead(dim, kwargs.pred_hidden_dim, dim)

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the projections `z` and the predictions `p`, (N, D) each."""
        z = self.projector(feats)
        return {"z": z, "p": self.predictor(z)}

    def targets(self, views: list[Tensor]) -> list[Tensor]:
        """Return the targets (N, D) for the moving average's projections (N, D) of each view."""
        return views

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: predict every large crop from every other crop."""
        out = super().training_step(batch, batch_idx)
        similarity = NegativeCosineSimilarity()
        pairs = [
            similarity(p, target)
            for large, target in enumerate(self.targets(out["momentum_z"]))
            for crop, p in enumerate(out["p"])
            if crop != large
        ]
        self.log("train_z_std", std_of_l2_normalized(out["z"][0]), on_epoch=True, sync_dist=True)
        return self.total(out, (2 + 2 * torch.stack(pairs)).sum(), "byol")


class BYOL(BYOLMixin, BaseMomentumMethod):
    """BYOL on our own engine."""
