"""SupCon with a temperature that follows each pair's similarity (arXiv 2308.01140, 2004.11362)."""

from __future__ import annotations

from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor

from solo_dyntemp.losses import dyntemp_supcon
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_registry.errors import UserError
from solo_registry.methods.supcon import SupConMixin


class SupConDynTempMixin(DynTempMixin, SupConMixin):
    """SupCon's step with `dyntemp_supcon`; `method_kwargs.form` is "in" (solo-learn's) or "out"."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **SupConMixin.KWARGS,
        **DynTempMixin.DYNTEMP_KWARGS,
        "form": "in",
    }

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check the form."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        if (form := cfg.method_kwargs.form) not in ("in", "out"):
            raise UserError(f"method_kwargs.form must be in or out, got '{form}'")
        return cfg

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return dyntemp_supcon(
            z,
            groups,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            form=self.cfg.method_kwargs.form,
        )
