"""SimCLR with a temperature that follows each pair's similarity (DySTreSS, arXiv 2308.01140)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.losses.embeddings import split
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_dyntemp.temperature import temperature_outputs
from solo_registry.methods.parts.heads import projector
from solo_registry.methods.simclr import SimCLRMixin


class SimCLRDynTempMixin(DynTempMixin, SimCLRMixin):
    """SimCLR's step with `dyntemp_infonce` as its loss."""

    HEAD_OUTPUTS: ClassVar[bool] = True
    KWARGS: ClassVar[dict[str, Any]] = {**SimCLRMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}

    def build_projector(self) -> nn.Module:
        """Return the projection head, with the outputs that the temperature reads at its end."""
        kwargs: DictConfig = self.cfg.method_kwargs.copy()
        kwargs.proj_output_dim += temperature_outputs(kwargs.temperature)
        return projector(self.features_dim, kwargs)

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return `z` (N, D) and, where the temperature reads further outputs, these as `extra`."""
        z, extra = split(self.projector(feats), self.temperature)
        return {"z": z} if extra is None else {"z": z, "extra": extra}

    def rows(self, outs: dict[str, list[Tensor]]) -> Tensor:
        """Return all views (V*N, D), and as last columns the outputs that the temperature reads."""
        parts = [torch.cat(outs[key]) for key in ("z", "extra") if key in outs]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return dyntemp_infonce(
            z,
            groups,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
        )
