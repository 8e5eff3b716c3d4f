"""SupCon in the form its paper prefers, L_out (Khosla et al. 2020, arXiv 2004.11362, eq. 2)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_registry.losses import supcon_out
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin
from solo_registry.methods.supcon import SupConMixin


class SupConOutMixin(SupConMixin):
    """SupCon's step with the mean over positives outside the logarithm; needs labels."""

    KWARGS: ClassVar[dict[str, Any]] = {**SupConMixin.KWARGS, "temperature": 0.1}

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return supcon_out(z, groups, self.cfg.method_kwargs.temperature)

    def chance_loss(self) -> float | None:
        """Return SimCLR's: the mean over the positives is outside the logarithm."""
        return SimCLRMixin.chance_loss(self)


class SupConOut(SupConOutMixin, BaseMethod):
    """SupCon's L_out on our own engine."""
