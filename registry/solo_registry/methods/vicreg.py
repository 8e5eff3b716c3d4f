"""VICReg (Bardes et al. 2022, arXiv 2105.04906)."""

from __future__ import annotations

from typing import Any, ClassVar

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.utils.dist import world_size
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin


class VICRegMixin(MethodMixin):
    """VICReg over any base class; exactly two views.

    The loss is lightly's with twice its variance term, because the weights are solo-learn's, which
    sums that term over the views. Variance and covariance are over the rows of all processes.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 2048),
        "sim_loss_weight": Kwarg(25.0, "Weight of the invariance term (eq. 6).", least=0),
        "var_loss_weight": Kwarg(25.0, "Weight of the variance term (eq. 6).", least=0),
        "cov_loss_weight": Kwarg(1.0, "Weight of the covariance term (eq. 6).", least=0),
    }

    # lightly takes the mean of the views' variance terms and the sum of their covariance terms
    VARIANCE_FACTOR: ClassVar[float] = 2.0
    COVARIANCE_FACTOR: ClassVar[float] = 1.0

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = VICRegProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )

    def regularised_loss(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the three weighted terms of two views (N, D)."""
        kwargs = self.cfg.method_kwargs
        criterion = VICRegLoss(
            lambda_param=kwargs.sim_loss_weight,
            mu_param=self.VARIANCE_FACTOR * kwargs.var_loss_weight,
            nu_param=self.COVARIANCE_FACTOR * kwargs.cov_loss_weight,
            gather_distributed=world_size() > 1,
        )
        with full_precision(z1):
            loss: Tensor = criterion(to_float32(z1), to_float32(z2))
        return loss

    def views_loss(self, out: dict[str, Any], batch: Batch) -> Tensor:
        """Return the loss of the two views' outputs of `forward`."""
        return self.regularised_loss(*out["z"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: invariance, variance and covariance."""
        out = super().training_step(batch, batch_idx)
        return self.total(out, self.views_loss(out, batch), "vicreg")


class VICReg(VICRegMixin, BaseMethod):
    """VICReg on our own engine."""
