"""Pieces that several methods share: checks, heads, the queue of keys."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.config import count_processes
from solo_registry.contract import Host
from solo_registry.errors import UserError
from solo_registry.losses import gathered
from solo_registry.method_kwargs import fill_method_kwargs, require_positive
from solo_registry.optimizers import ParamGroup

LARGEST_QUEUE = 65536  # solo-learn's default


def projector(features_dim: int, method_kwargs: DictConfig) -> nn.Sequential:
    """Return the two-layer projection head of SimCLR and MoCo v2."""
    return nn.Sequential(
        nn.Linear(features_dim, method_kwargs.proj_hidden_dim),
        nn.ReLU(),
        nn.Linear(method_kwargs.proj_hidden_dim, method_kwargs.proj_output_dim),
    )


def require_two_views(cfg: DictConfig) -> None:
    """Refuse any other number of crops.

    Raises:
        UserError: there are not exactly two large crops and no small ones.
    """
    large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
    if (large, small) != (2, 0):
        raise UserError(
            f"method '{cfg.method}' compares exactly 2 large crops, "
            f"got {large} large and {small} small: see augmentations[].num_crops"
        )


def queue_size(cfg: DictConfig) -> int:
    """Number of keys in the queue: `method_kwargs.queue_size`.

    null is the largest multiple of the batch up to half the training images and 65,536.

    Raises:
        UserError: it is not a multiple of the batch over all devices.
    """
    batch = cfg.optimizer.batch_size * count_processes(cfg)
    size: Any = cfg.method_kwargs.queue_size
    if size is None:
        images = OmegaConf.select(cfg, "data.train_images") or 2 * LARGEST_QUEUE
        size = max(batch, min(images // 2, LARGEST_QUEUE) // batch * batch)
    if not isinstance(size, int) or size < 1 or size % batch:
        raise UserError(
            f"method_kwargs.queue_size is {size}, it must be divisible by the batch of {batch} "
            "images over all devices"
        )
    return size


class ContrastiveMixin(Host):
    """What contrastive methods share: their `method_kwargs`, heads and temperature."""

    # keys of `method_kwargs` and their defaults; a number must be above 0
    KWARGS: ClassVar[dict[str, Any]] = {}
    HEADS: ClassVar[tuple[str, ...]] = ("projector",)  # modules that are trained
    TWO_VIEWS: ClassVar[bool] = True  # whether other numbers of crops are refused

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, cls.KWARGS)
        numbers = (key for key, value in cls.KWARGS.items() if type(value) in (int, float))
        require_positive(cfg, *numbers)
        if "queue_size" in cls.KWARGS:
            queue_size(cfg)
        if cls.TWO_VIEWS:
            require_two_views(cfg)
        return cfg

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the heads."""
        heads = [{"name": name, "params": getattr(self, name).parameters()} for name in self.HEADS]
        return [*super().learnable_params, *heads]

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """The same temperature at every similarity."""
        return torch.full_like(s, self.cfg.method_kwargs.temperature)


class KeyQueue(nn.Module):
    """The latest normalised keys of every view, first in, first out; saved in the checkpoint.

    Args:
        views: V, queues side by side.
        dim: D, length of a key.
        size: K, keys that each queue holds; random directions until they are replaced.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, views: int, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(views, dim, size), dim=1))
        self.register_buffer("position", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, *keys: Tensor) -> None:
        """Replace the oldest keys by the (N, D) keys of each view, from all processes.

        Raises:
            UserError: the queue's size is no multiple of the keys that come.
        """
        stacked = torch.stack([gathered(view) for view in keys]).to(self.keys.dtype)
        count, size = stacked.shape[1], self.keys.shape[2]
        if size % count:
            raise UserError(
                f"method_kwargs.queue_size {size} is not divisible by the global batch of {count}"
            )
        start = int(self.position)
        self.keys[:, :, start : start + count] = stacked.transpose(1, 2)
        self.position[0] = (start + count) % size
