"""Debiased contrastive learning (Chuang et al. 2020, arXiv 2007.00224), and HCL on top of it.

HCL is "Contrastive learning with hard negative samples" (Robinson et al. 2021, arXiv 2010.04592).
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import debiased_infonce
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin


class DebiasedMixin(SimCLRMixin):
    """SimCLR's step, corrected for negatives of the anchor's own class; exactly two views."""

    INFONCE: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {
        **SimCLRMixin.KWARGS,
        "temperature": 0.5,
        "tau_plus": Kwarg(
            0.1, "Share of the negatives that are of the anchor's own class.", least=0, below=1
        ),
    }
    TWO_VIEWS: ClassVar[bool] = True

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D) of the images `groups` (2*N,)."""
        kwargs = self.cfg.method_kwargs
        return debiased_infonce(
            z, groups, kwargs.temperature, tau_plus=kwargs.tau_plus, beta=kwargs.get("beta", 0.0)
        )


class HCLMixin(DebiasedMixin):
    """Debiased, with more weight for hard negatives."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **DebiasedMixin.KWARGS,
        "beta": Kwarg(1.0, "How much more the hard negatives weigh; 0 is debiased.", least=0),
    }


class Debiased(DebiasedMixin, BaseMethod):
    """Debiased on our own engine."""


class HCL(HCLMixin, BaseMethod):
    """HCL on our own engine."""
