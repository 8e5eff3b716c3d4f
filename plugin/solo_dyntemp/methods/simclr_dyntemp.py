"""SimCLR with a temperature that follows each pair's similarity (DySTreSS, arXiv 2308.01140)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_dyntemp.methods.wide_head import WideHeadMixin
from solo_registry.methods.simclr import SimCLRMixin


class SimCLRDynTempMixin(WideHeadMixin, SimCLRMixin):
    """SimCLR's step with `dyntemp_infonce` as its loss."""

    KWARGS: ClassVar[dict[str, Any]] = {**SimCLRMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}
    DISTINCT: ClassVar[bool] = True  # whether a batch holds an image once, as our samplers draw it

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return dyntemp_infonce(
            z,
            groups,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
            views=self.num_crops if self.DISTINCT else None,
        )
