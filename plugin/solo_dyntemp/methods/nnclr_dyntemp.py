"""NNCLR with a temperature that follows each pair's similarity (arXiv 2308.01140, 2104.14548)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_paired
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_registry.methods.nnclr import NNCLRMixin


class NNCLRDynTempMixin(DynTempMixin, NNCLRMixin):
    """NNCLR's step with `dyntemp_paired` as its loss."""

    KWARGS: ClassVar[dict[str, Any]] = {**NNCLRMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}

    def contrastive_loss(self, neighbour: Tensor, prediction: Tensor, indexes: Tensor) -> Tensor:
        """Compare the neighbours (N, D) of the images `indexes` (N,) with all predictions."""
        return dyntemp_paired(
            neighbour,
            prediction,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
            indexes=indexes,
        )
