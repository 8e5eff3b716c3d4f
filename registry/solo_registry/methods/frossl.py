"""FroSSL, Frobenius norm minimization (Skean et al. 2024, arXiv 2310.02903)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import FroSSLLoss
from lightly.models.modules.heads import VICRegProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, gathered, to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin


class FroSSLMixin(MethodMixin):
    """FroSSL over any base class; several views and multi-crop.

    The covariances are over the rows of all processes.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 1024),
        "invariance_weight": Kwarg(1.0, "Weight of the invariance over the views.", least=0),
    }
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = VICRegProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: entropy of each view's covariance, and invariance over the views."""
        out = super().training_step(batch, batch_idx)
        criterion = FroSSLLoss(self.cfg.method_kwargs.invariance_weight)
        z = [gathered(to_float32(view)) for view in out["z"]]
        with full_precision(z[0]):
            loss = criterion(z)
        return self.total(out, loss, "frossl")


class FroSSL(FroSSLMixin, BaseMethod):
    """FroSSL on our own engine."""
