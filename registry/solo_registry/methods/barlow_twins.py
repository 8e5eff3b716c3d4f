"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, gathered, to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin


class BarlowTwinsMixin(MethodMixin):
    """Barlow Twins over any base class; exactly two views.

    The rows of all processes are standardised together and give one cross-correlation. solo-learn
    standardises per process unless `sync_batchnorm` is on, and averages the matrices. On one
    process both are the same.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 2048),
        "lamb": Kwarg(0.0051, "Weight of the correlations off the diagonal.", least=0),
        "scale_loss": Kwarg(0.024, "Factor of the whole loss.", above=0),
    }

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = BarlowTwinsProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the cross-correlation of the two views towards the identity (eq. 1)."""
        out = super().training_step(batch, batch_idx)
        kwargs = self.cfg.method_kwargs
        z = [gathered(to_float32(view)) for view in out["z"]]
        with full_precision(z[0]):
            loss = BarlowTwinsLoss(kwargs.lamb)(*z)
        return self.total(out, kwargs.scale_loss * loss, "barlow")


class BarlowTwins(BarlowTwinsMixin, BaseMethod):
    """Barlow Twins on our own engine."""
