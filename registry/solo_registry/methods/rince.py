"""RINCE, robust InfoNCE (Chuang et al. 2022, arXiv 2201.04309)."""

from __future__ import annotations

from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import rince
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin

LARGEST_EXPONENT = 80  # float32 ends above e^88


class RINCEMixin(SimCLRMixin):
    """SimCLR's step with a loss robust to views without common content; exactly two views."""

    INFONCE: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {
        **SimCLRMixin.KWARGS,
        "temperature": 0.1,
        "q": Kwarg(
            0.1,
            "Robustness: near 0 the loss is InfoNCE, at 1 it is symmetric; q / temperature is at "
            f"most {LARGEST_EXPONENT}.",
            above=0,
            most=1,
        ),
        "lambda_param": Kwarg(0.01, "Weight of the denominator.", above=0, most=1),
    }
    TWO_VIEWS: ClassVar[bool] = True

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check that e^(q / temperature) does not overflow."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        kwargs = cfg.method_kwargs
        if kwargs.q / kwargs.temperature > LARGEST_EXPONENT:
            raise UserError(
                f"RINCE's loss grows as e^(q / temperature), which overflows at q={kwargs.q} and "
                f"temperature={kwargs.temperature}: keep q / temperature up to {LARGEST_EXPONENT}"
            )
        return cfg

    def chance_loss(self) -> float | None:
        """Return None: at equal similarities the loss depends on how large they are."""
        return None

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D) of the images `groups` (2*N,)."""
        kwargs = self.cfg.method_kwargs
        return rince(z, groups, kwargs.temperature, q=kwargs.q, lambda_param=kwargs.lambda_param)


class RINCE(RINCEMixin, BaseMethod):
    """RINCE on our own engine."""
