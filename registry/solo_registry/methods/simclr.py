"""SimCLR (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.contract import BaseMethod, Batch, Host
from solo_registry.losses import infonce
from solo_registry.method_kwargs import fill_method_kwargs, require_positive
from solo_registry.optimizers import ParamGroup


def projector(features_dim: int, method_kwargs: DictConfig) -> nn.Sequential:
    """Return the two-layer projection head of SimCLR and MoCo v2."""
    return nn.Sequential(
        nn.Linear(features_dim, method_kwargs.proj_hidden_dim),
        nn.ReLU(),
        nn.Linear(method_kwargs.proj_hidden_dim, method_kwargs.proj_output_dim),
    )


class SimCLRMixin(Host):
    """SimCLR over any base class that honours the contract; several views and multi-crop included.

    `method_kwargs`: `proj_hidden_dim`, `proj_output_dim`, `temperature` (float > 0).
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "proj_hidden_dim": 2048,
        "proj_output_dim": 256,
        "temperature": 0.2,
    }
    POSITIVE: ClassVar[tuple[str, ...]] = ("proj_hidden_dim", "proj_output_dim", "temperature")

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.projector = projector(self.features_dim, cfg.method_kwargs)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, cls.KWARGS)
        require_positive(cfg, *cls.POSITIVE)
        return cfg

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the projector."""
        extra = {"name": "projector", "params": self.projector.parameters()}
        return [*super().learnable_params, extra]

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the projections `z` (N, D)."""
        out = super().forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the projections `z` (N, D)."""
        out = super().multicrop_forward(X)
        return {**out, "z": self.projector(out["feats"])}

    def contrastive_loss(self, z: Tensor, indexes: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D) of the images `indexes` (V*N,)."""
        return infonce(z, indexes, self.cfg.method_kwargs.temperature)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        nce_loss = self.contrastive_loss(torch.cat(out["z"]), batch[0].repeat(self.num_crops))
        self.log("train_nce_loss", nce_loss, on_epoch=True, sync_dist=True)
        loss: Tensor = nce_loss + out["loss"]
        return loss

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """The same temperature at every similarity."""
        return torch.full_like(s, self.cfg.method_kwargs.temperature)


class SimCLR(SimCLRMixin, BaseMethod):
    """SimCLR on our own engine."""
