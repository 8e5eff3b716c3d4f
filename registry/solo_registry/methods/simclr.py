"""SimCLR (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.losses import infonce
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.heads import projector
from solo_registry.methods.parts.kwargs import projector_widths, softmax_temperature
from solo_registry.methods.parts.method import ContrastiveMixin
from solo_registry.metrics.pair_mask import ComparedPairs


class SimCLRMixin(ContrastiveMixin):
    """SimCLR over any base class; several views and multi-crop."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 256),
        **softmax_temperature(0.2),
    }

    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.projector = self.build_projector()

    def build_projector(self) -> nn.Module:
        """Return the module that maps features (N, F) to projections (N, D)."""
        return projector(self.features_dim, self.cfg.method_kwargs)

    def groups(self, batch: Batch) -> Tensor:
        """Return the group of each row, (N,): its image. Rows of one group are positives."""
        return batch[0]

    def rows(self, outs: dict[str, list[Tensor]]) -> Tensor:
        """Return what `contrastive_loss` gets of the outputs of `embed`: all views, (V*N, D)."""
        return torch.cat(outs["z"])

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return infonce(z, groups, self.cfg.method_kwargs.temperature)

    def chance_loss(self) -> float | None:
        """Return ln(V N - 1): each view is compared with all others."""
        return math.log(max(1, self.num_crops * self.images_a_step() - 1))

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return all views against all."""
        groups = self.groups(batch).repeat(len(outs["z"]))
        return ComparedPairs.among_views(torch.cat(outs["z"]), groups)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        groups = self.groups(batch).repeat(self.num_crops)
        nce_loss = self.contrastive_loss(self.rows(out), groups)
        return self.total(out, nce_loss, "nce")


class SimCLR(SimCLRMixin, BaseMethod):
    """SimCLR on our own engine."""
