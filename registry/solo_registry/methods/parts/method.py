"""What methods share besides their base class: checked `method_kwargs`, heads, declarations."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.catalog.kwargs import declared_kwargs
from solo_registry.config.devices import count_processes
from solo_registry.config.method_kwargs import fill_method_kwargs
from solo_registry.errors import UserError
from solo_registry.methods.base import Host, MomentumHost
from solo_registry.methods.parts.queue import queue_size
from solo_registry.methods.parts.views import (
    leave_out_small_crops,
    require_two_views,
    require_views,
)
from solo_registry.metrics.pair_mask import PairMask
from solo_registry.optimizers import ParamGroup


class MethodMixin(Host):
    """Declares a method: its checks and parameter groups follow from these class attributes."""

    projector: nn.Module
    # keys of `method_kwargs`: a `Kwarg` each, or a new default for a base class's key
    KWARGS: ClassVar[dict[str, Any]] = {}
    HEADS: ClassVar[tuple[str, ...]] = ("projector",)  # modules that are trained
    TWO_VIEWS: ClassVar[bool] = True  # whether any other number of crops is an error
    LEAST_VIEWS: ClassVar[int] = 2  # fewest crops, if TWO_VIEWS is False
    MULTICROP: ClassVar[bool] = True  # whether small crops are allowed, if TWO_VIEWS is False
    DROPS_SMALL: ClassVar[bool] = False  # whether small crops are dropped, with a warning
    ONE_IMAGE: ClassVar[bool] = False  # whether a batch may be one image, over all devices
    TRANSFORMER: ClassVar[bool] = False  # whether the backbone must be a vision transformer
    # why several processes do not get the gradient of one process; "" if they do
    PER_PROCESS: ClassVar[str] = ""
    # keys in solo-learn's YAML of the method that its code never reads
    UNUSED: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, declared_kwargs(cls), unused=cls.UNUSED)
        if not cls.ONE_IMAGE and cfg.optimizer.batch_size == 1 and count_processes(cfg) == 1:
            raise UserError(
                f"optimizer.batch_size=1: method '{cfg.method}' compares the images of a batch, so "
                "it needs at least 2 (over all devices)"
            )
        if "queue_size" in cls.KWARGS:
            queue_size(cfg)
        if cls.DROPS_SMALL:
            leave_out_small_crops(cfg)
        if cls.TWO_VIEWS:
            require_two_views(cfg)
        else:
            require_views(cfg, least=cls.LEAST_VIEWS, small=cls.MULTICROP)
        return cfg

    @classmethod
    def batch_unit(cls, cfg: DictConfig) -> int:
        """Return the number that the batch must be a multiple of."""
        return 1

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the heads."""
        heads = [{"name": name, "params": getattr(self, name).parameters()} for name in self.HEADS]
        return [*super().learnable_params, *heads]

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the outputs of the heads for one view's features (N, F): here `z` (N, D)."""
        return {"z": self.projector(feats)}

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the outputs of `project` for large crops."""
        out = super().forward(X)
        return {**out, **self.project(out["feats"])}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the outputs of `project` for small crops."""
        out = super().multicrop_forward(X)
        return {**out, **self.project(out["feats"])}

    def total(self, out: dict[str, Any], loss: Tensor, name: str) -> Tensor:
        """Log the method's `loss` as `train_<name>_loss`; return it plus the classifier's."""
        self.log(f"train_{name}_loss", loss, on_epoch=True, sync_dist=True)
        total: Tensor = loss + out["loss"]
        return total


class ContrastiveMixin(MethodMixin):
    """A method with one temperature for every pair."""

    INFONCE: ClassVar[bool] = True  # whether the loss is a softmax over similarities

    @classmethod
    def temperature_range(cls, cfg: DictConfig) -> tuple[float, float] | None:
        """Return the one temperature twice."""
        return (cfg.method_kwargs.temperature,) * 2

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """Return the same temperature at every similarity."""
        return torch.full_like(s, self.cfg.method_kwargs.temperature)

    def pair_temperature(self, s: Tensor, mask: PairMask, indexes: Tensor) -> Tensor | None:
        """Return the same temperature for every pair; None if the loss is not InfoNCE."""
        return self.temperature_curve(s) if self.INFONCE else None

    def images_a_step(self) -> int:
        """Return the number of images that are compared in a step, over all processes."""
        batch: int = self.cfg.optimizer.batch_size
        return batch * count_processes(self.cfg)


class MomentumProjectorMixin(MomentumHost):
    """A method with a moving average of its `projector`, the `momentum_projector`."""

    projector: nn.Module
    momentum_projector: nn.Module

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Adds the projectors."""
        return [*super().momentum_pairs, (self.projector, self.momentum_projector)]

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the moving average's projections `z` (N, D)."""
        out = super().momentum_forward(X)
        return {**out, "z": self.momentum_projector(out["feats"])}
