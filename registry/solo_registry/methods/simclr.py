"""SimCLR (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.contract import BaseMethod, Batch
from solo_registry.losses import infonce
from solo_registry.methods.parts.heads import projector
from solo_registry.methods.parts.method import ContrastiveMixin


class SimCLRMixin(ContrastiveMixin):
    """SimCLR over any base class that honours the contract; several views and multi-crop included.

    `method_kwargs`: `proj_hidden_dim`, `proj_output_dim`, `temperature` (float > 0).
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "proj_hidden_dim": 2048,
        "proj_output_dim": 256,
        "temperature": 0.2,
    }

    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.projector = projector(self.features_dim, cfg.method_kwargs)

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the projections `z` (N, D)."""
        out = super().forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the projections `z` (N, D)."""
        out = super().multicrop_forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def groups(self, batch: Batch) -> Tensor:
        """Return what makes two rows positives: here the image, (N,)."""
        return batch[0]

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return infonce(z, groups, self.cfg.method_kwargs.temperature)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        groups = self.groups(batch).repeat(self.num_crops)
        nce_loss = self.contrastive_loss(torch.cat(out["z"]), groups)
        self.log("train_nce_loss", nce_loss, on_epoch=True, sync_dist=True)
        loss: Tensor = nce_loss + out["loss"]
        return loss


class SimCLR(SimCLRMixin, BaseMethod):
    """SimCLR on our own engine."""
