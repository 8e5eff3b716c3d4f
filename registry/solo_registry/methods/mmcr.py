"""MMCR, maximum manifold capacity representations (Yerxa et al. 2023, arXiv 2303.03307)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.models.modules.heads import MMCRProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import mmcr
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin, MomentumProjectorMixin


class MMCRMixin(MethodMixin, MomentumProjectorMixin):
    """MMCR over any momentum base class; several views and multi-crop. More views are better.

    An image's centroid is halfway between the online network's mean over its views and the momentum
    network's mean over its large views.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(8192, 512),
        "lmda": Kwarg(
            0.0,
            "Weight of the size of each image's own manifold; 0 in the authors' code, 0.005 in "
            "lightly's.",
            least=0,
        ),
    }
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = MMCRProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )
        self.momentum_projector = momentum_copy(self.projector)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: MMCR's loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        views, momentum = (torch.stack(out[key], dim=1) for key in ("z", "momentum_z"))
        loss = mmcr(views, self.cfg.method_kwargs.lmda, momentum)
        return self.total(out, loss, "mmcr")


class MMCR(MMCRMixin, BaseMomentumMethod):
    """MMCR on our own engine."""
