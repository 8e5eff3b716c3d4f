"""VIbCReg (Lee & Aune 2021, arXiv 2109.00783): VICReg with a normalised covariance."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from lightly.loss.vicreg_loss import invariance_loss, variance_loss
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, gathered, to_float32
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.parts.whitening import IterNorm
from solo_registry.methods.vicreg import VICRegMixin


def correlation_loss(z: Tensor) -> Tensor:
    """Return the mean squared entry of the correlation matrix of z (N, D), the diagonal set to 0.

    >>> import torch
    >>> f"{correlation_loss(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])):.2f}"
    '0.50'
    """
    z = to_float32(z)
    z = F.normalize(z - z.mean(0), dim=0)
    with full_precision(z):
        return (z.T @ z).fill_diagonal_(0).square().mean()


class VIbCRegMixin(VICRegMixin):
    """VICReg's step with GELU and iterative normalisation in the projector."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **VICRegMixin.KWARGS,
        "cov_loss_weight": 200.0,
        "iternorm": Kwarg(False, "Whether iterative normalisation whitens the projections."),
    }

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        hidden, dim = kwargs.proj_hidden_dim, kwargs.proj_output_dim
        self.projector = nn.Sequential(
            nn.Linear(self.features_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.GELU(),
            nn.Linear(hidden, dim),
            IterNorm(dim) if kwargs.iternorm else nn.Identity(),
        )

    def regularised_loss(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the three weighted terms of two views (N, D)."""
        kwargs = self.cfg.method_kwargs
        views = gathered(z1), gathered(z2)
        loss: Tensor = (
            kwargs.sim_loss_weight * invariance_loss(z1, z2)
            + kwargs.var_loss_weight * sum(variance_loss(z) for z in views)
            + kwargs.cov_loss_weight * sum(correlation_loss(z) for z in views)
        )
        return loss


class VIbCReg(VIbCRegMixin, BaseMethod):
    """VIbCReg on our own engine."""
