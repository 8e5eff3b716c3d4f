"""MoCo v2+ (Chen et al. 2020, arXiv 2003.04297; symmetric as in Chen & He 2021, 2011.10566)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.config import count_devices
from solo_registry.contract import BaseMomentumMethod, Batch, MomentumHost, momentum_copy
from solo_registry.errors import UserError
from solo_registry.losses import gathered, infonce_queue
from solo_registry.method_kwargs import fill_method_kwargs, require_positive
from solo_registry.methods.simclr import projector
from solo_registry.optimizers import ParamGroup

LARGEST_QUEUE = 65536  # solo-learn's default


class MoCoV2PlusMixin(MomentumHost):
    """MoCo v2+ over any momentum base class that honours the contract; exactly two views.

    `method_kwargs`: `proj_hidden_dim`, `proj_output_dim`, `temperature` (float > 0), `queue_size`
    (a multiple of the batch over all devices; null is the largest one up to half the training
    images and 65,536).
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "proj_hidden_dim": 2048,
        "proj_output_dim": 256,
        "temperature": 0.2,
        "queue_size": None,
    }
    POSITIVE: ClassVar[tuple[str, ...]] = ("proj_hidden_dim", "proj_output_dim", "temperature")

    queue: Tensor
    queue_ptr: Tensor

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = projector(self.features_dim, kwargs)
        self.momentum_projector = momentum_copy(self.projector)
        queue = torch.randn(2, kwargs.proj_output_dim, queue_size(cfg))
        queue = F.normalize(queue, dim=1)
        self.register_buffer("queue", queue)
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        fill_method_kwargs(cfg, cls.KWARGS)
        require_positive(cfg, *cls.POSITIVE)
        queue_size(cfg)
        large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
        if (large, small) != (2, 0):
            raise UserError(
                f"method '{cfg.method}' compares exactly 2 large crops, "
                f"got {large} large and {small} small: see augmentations[].num_crops"
            )
        return cfg

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds the projector."""
        extra = {"name": "projector", "params": self.projector.parameters()}
        return [*super().learnable_params, extra]

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Adds the projectors."""
        return [*super().momentum_pairs, (self.projector, self.momentum_projector)]

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the normalised queries `z` (N, D)."""
        out = super().forward(X)
        return {**out, "z": F.normalize(self.projector(out["feats"]), dim=-1)}

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the normalised keys `z` (N, D)."""
        out = super().momentum_forward(X)
        return {**out, "z": F.normalize(self.momentum_projector(out["feats"]), dim=-1)}

    def contrastive_loss(self, query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
        """Compare `query` (N, D) with its `key` (N, D) and the `queue` (D, K)."""
        return infonce_queue(query, key, queue, self.cfg.method_kwargs.temperature)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the symmetric contrastive loss plus the online classifier's."""
        out = super().training_step(batch, batch_idx)
        (q1, q2), (k1, k2) = out["z"], out["momentum_z"]
        queue = self.queue.clone()  # this step's backward needs it after `enqueue` wrote
        nce_loss = 0.5 * (
            self.contrastive_loss(q1, k2, queue[1]) + self.contrastive_loss(q2, k1, queue[0])
        )
        self.enqueue(k1, k2)
        self.log("train_nce_loss", nce_loss, on_epoch=True, sync_dist=True)
        loss: Tensor = nce_loss + out["loss"]
        return loss

    @torch.no_grad()
    def enqueue(self, k1: Tensor, k2: Tensor) -> None:
        """Replace the oldest keys by the (N, D) keys of both views, from all processes."""
        keys = torch.stack([gathered(k1), gathered(k2)]).to(self.queue.dtype)
        count, size = keys.shape[1], self.queue.shape[2]
        if size % count:
            raise UserError(
                f"method_kwargs.queue_size {size} is not divisible by the global batch of {count}"
            )
        start = int(self.queue_ptr)
        self.queue[:, :, start : start + count] = keys.transpose(1, 2)
        self.queue_ptr[0] = (start + count) % size

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """The same temperature at every similarity."""
        return torch.full_like(s, self.cfg.method_kwargs.temperature)


def queue_size(cfg: DictConfig) -> int:
    """Number of keys that the queue of a resolved config holds.

    Raises:
        UserError: it is not a multiple of the batch over all devices.
    """
    batch = cfg.optimizer.batch_size * count_devices(cfg) * cfg.num_nodes
    size = cfg.method_kwargs.queue_size
    if size is None:
        images = OmegaConf.select(cfg, "data.train_images") or 2 * LARGEST_QUEUE
        return int(max(batch, min(images // 2, LARGEST_QUEUE) // batch * batch))
    if not isinstance(size, int) or size < 1 or size % batch:
        raise UserError(
            f"method_kwargs.queue_size is {size}, it must be divisible by the batch of {batch} "
            "images over all devices"
        )
    return size


class MoCoV2Plus(MoCoV2PlusMixin, BaseMomentumMethod):
    """MoCo v2+ on our own engine."""
