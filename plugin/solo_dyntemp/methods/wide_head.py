"""Methods whose projection head can have further outputs, which the temperature reads."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_dyntemp.losses.embeddings import split
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_dyntemp.temperature import temperature_outputs
from solo_registry.methods.parts.heads import projector


class WideHeadMixin(DynTempMixin):
    """In the place of `DynTempMixin` for methods with SimCLR's head and step."""

    projector: nn.Module
    HEAD_OUTPUTS: ClassVar[bool] = True

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
