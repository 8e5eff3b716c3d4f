"""RINCE, robust InfoNCE (Chuang et al. 2022, arXiv 2201.04309)."""

from __future__ import annotations

from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from solo_registry.errors import UserError
from solo_registry.losses import rince
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin

LARGEST_EXPONENT = 80  # e^88 is float32's end


class RINCEMixin(SimCLRMixin):
    """SimCLR's step with a loss that bears views without common content; exactly two views.

    `method_kwargs`: `q` in (0, 1], from InfoNCE towards a symmetric loss; `lambda_param` in (0, 1],
    the weight of the denominator.
    """

    INFONCE: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {
        **SimCLRMixin.KWARGS,
        "temperature": 0.1,
        "q": 0.1,
        "lambda_param": 0.01,
    }
    SHARES: ClassVar[tuple[str, ...]] = ("q", "lambda_param")
    TWO_VIEWS: ClassVar[bool] = True

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check that e^(q / temperature) is a float32."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        kwargs = cfg.method_kwargs
        if kwargs.q / kwargs.temperature > LARGEST_EXPONENT:
            raise UserError(
                f"RINCE's loss grows as e^(q / temperature), which overflows at q={kwargs.q} and "
                f"temperature={kwargs.temperature}: keep q / temperature up to {LARGEST_EXPONENT}"
            )
        return cfg

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D) of the images `groups` (2*N,)."""
        kwargs = self.cfg.method_kwargs
        return rince(z, groups, kwargs.temperature, q=kwargs.q, lambda_param=kwargs.lambda_param)


class RINCE(RINCEMixin, BaseMethod):
    """RINCE on our own engine."""
