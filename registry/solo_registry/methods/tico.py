"""TiCo (Zhu et al. 2022, arXiv 2206.10698): invariance, and contrast with a moving covariance."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.loss import TiCoLoss
from lightly.models.modules.heads import TiCoProjectionHead
from lightly.utils.dist import world_size
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, normalize
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin, MomentumProjectorMixin


class TiCoMixin(MethodMixin, MomentumProjectorMixin):
    """TiCo over any momentum base class; exactly two views, each the target of the other."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(4096, 256),
        "beta": Kwarg(0.9, "Share of the moving covariance that a step keeps.", least=0, most=1),
        "rho": Kwarg(8.0, "Weight of the contrast with the moving covariance.", least=0),
    }

    covariance: Tensor

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim = kwargs.proj_output_dim
        self.projector = TiCoProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.momentum_projector = momentum_copy(self.projector)
        # lightly's loss has it as a plain attribute, which is in no checkpoint
        self.register_buffer("covariance", torch.zeros(dim, dim))

    def tico_loss(self, z: Tensor, target: Tensor) -> Tensor:
        """Compare `z` with `target` (2*N, D); update the covariance by all processes' rows."""
        kwargs = self.cfg.method_kwargs
        criterion = TiCoLoss(kwargs.beta, kwargs.rho, gather_distributed=world_size() > 1)
        criterion.C = self.covariance.clone()
        with full_precision(z):
            loss: Tensor = criterion(normalize(z), normalize(target))
        self.covariance.copy_(criterion.C)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: TiCo's loss of both directions plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        loss = self.tico_loss(torch.cat(out["z"]), torch.cat(out["momentum_z"][::-1]))
        return self.total(out, loss, "tico")


class TiCo(TiCoMixin, BaseMomentumMethod):
    """TiCo on our own engine."""
