"""MoCo v3 with a temperature that follows each pair's similarity (arXiv 2308.01140, 2104.02057)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_paired
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_registry.methods.mocov3 import MoCoV3Mixin


class MoCoV3DynTempMixin(DynTempMixin, MoCoV3Mixin):
    """MoCo v3's step with `dyntemp_paired` as its loss.

    MoCo v3 multiplies its loss by 2 tau. With many temperatures the factor is 2 tau_max, a
    constant, so that tau_min = tau_max is MoCo v3 itself.
    """

    KWARGS: ClassVar[dict[str, Any]] = {**MoCoV3Mixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}

    def loss_scale(self) -> float:
        """Return 2 tau_max."""
        return 2 * self.temperature.tau_max

    def contrastive_loss(self, query: Tensor, key: Tensor, indexes: Tensor) -> Tensor:
        """Compare `query` (N, D) of the images `indexes` (N,) with all keys (N, D)."""
        loss = dyntemp_paired(
            query,
            key,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
            indexes=indexes,
        )
        return self.loss_scale() * loss
