"""Debiased contrastive learning (Chuang et al. 2020, arXiv 2007.00224), and HCL on top of it.

HCL is "Contrastive learning with hard negative samples" (Robinson et al. 2021, arXiv 2010.04592).
"""

from __future__ import annotations

from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from solo_registry.errors import UserError
from solo_registry.losses import debiased_infonce
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin


class DebiasedMixin(SimCLRMixin):
    """SimCLR's step; of the negatives' sum the share of the anchor's own class is taken away.

    `method_kwargs.tau_plus`: that share, in [0, 1); 0 is SimCLR. Exactly two views.
    """

    INFONCE: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {**SimCLRMixin.KWARGS, "temperature": 0.5, "tau_plus": 0.1}
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("tau_plus", "beta")
    TWO_VIEWS: ClassVar[bool] = True

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check `tau_plus`."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        if (share := cfg.method_kwargs.tau_plus) >= 1:
            raise UserError(f"method_kwargs.tau_plus must be below 1, got {share}")
        return cfg

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D) of the images `groups` (2*N,)."""
        kwargs = self.cfg.method_kwargs
        return debiased_infonce(
            z, groups, kwargs.temperature, tau_plus=kwargs.tau_plus, beta=kwargs.get("beta", 0.0)
        )


class HCLMixin(DebiasedMixin):
    """Debiased, with hard negatives weighted up; `method_kwargs.beta` sets how much."""

    KWARGS: ClassVar[dict[str, Any]] = {**DebiasedMixin.KWARGS, "beta": 1.0}


class Debiased(DebiasedMixin, BaseMethod):
    """Debiased on our own engine."""


class HCL(HCLMixin, BaseMethod):
    """HCL on our own engine."""
