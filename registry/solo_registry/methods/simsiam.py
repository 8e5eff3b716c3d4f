"""SimSiam (Chen & He 2021, arXiv 2011.10566)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead
from lightly.utils.debug import std_of_l2_normalized
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import predictor_width, projector_widths
from solo_registry.methods.parts.method import MethodMixin
from solo_registry.optimizers import ParamGroup


class SimSiamMixin(MethodMixin):
    """SimSiam over any base class; exactly two views. The predictor's learning rate is constant."""

    KWARGS: ClassVar[dict[str, Any]] = {**projector_widths(2048, 2048), **predictor_width(512)}

    HEADS: ClassVar[tuple[str, ...]] = ("projector", "predictor")
    UNUSED: ClassVar[tuple[str, ...]] = ("temperature",)

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim = kwargs.proj_output_dim
        self.projector = SimSiamProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.predictor = SimSiamPredictionHead(dim, kwargs.pred_hidden_dim, dim)

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Keeps the predictor out of the learning rate's schedule (section 4.2)."""
        groups = super().learnable_params
        return [
            {**group, "static_lr": True} if group["name"] == "predictor" else group
            for group in groups
        ]

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the projections `z` and the predictions `p`, (N, D) each."""
        z = self.projector(feats)
        return {"z": z, "p": self.predictor(z)}

    def targets(self, views: list[Tensor]) -> list[Tensor]:
        """Return the targets (N, D) for the projections (N, D) of each view, without gradient."""
        return [z.detach() for z in views]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: predict each view from the other (eq. 4)."""
        out = super().training_step(batch, batch_idx)
        (p1, p2), (target1, target2) = out["p"], self.targets(out["z"])
        similarity = NegativeCosineSimilarity()
        self.log("train_z_std", std_of_l2_normalized(out["z"][0]), on_epoch=True, sync_dist=True)
        loss = (similarity(p1, target2) + similarity(p2, target1)) / 2
        return self.total(out, loss, "simsiam")


class SimSiam(SimSiamMixin, BaseMethod):
    """SimSiam on our own engine."""
