"""SupCon (Khosla et al. 2020, arXiv 2004.11362), in solo-learn's form L_in."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.simclr import SimCLRMixin


class SupConMixin(SimCLRMixin):
    """SimCLR's step with all images of a class as positives; needs labels."""

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Refuse data without labels."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        if OmegaConf.select(cfg, "data.no_labels"):
            raise UserError(f"method '{cfg.method}' learns from labels, data.no_labels is true")
        return cfg

    def groups(self, batch: Batch) -> Tensor:
        """Return the group of each row, (N,): its class."""
        targets = batch[2]
        if bool((targets < 0).any()):
            raise UserError(f"method '{self.cfg.method}' needs a label for every image")
        return targets

    def chance_loss(self) -> float | None:
        """Return None: it depends on how many images of a class a batch has."""
        return None


class SupCon(SupConMixin, BaseMethod):
    """SupCon on our own engine."""
