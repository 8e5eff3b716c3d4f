"""The queue of keys: its size, and the keys of the latest batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.config.devices import count_processes
from solo_registry.errors import UserError
from solo_registry.losses import full_precision, gathered, normalize
from solo_registry.methods.base import Host

LARGEST_QUEUE = 65536  # solo-learn's default


def queue_size(cfg: DictConfig) -> int:
    """Return the number of keys in the queue, by `method_kwargs.queue_size`.

    null is the largest multiple of the batch up to half the training images and 65,536. 0 is no
    queue, in methods that allow it.

    Raises:
        UserError: the size is not a multiple of the batch over all devices.
    """
    batch = cfg.optimizer.batch_size * count_processes(cfg)
    size: Any = cfg.method_kwargs.queue_size
    if size is None:
        images = OmegaConf.select(cfg, "data.train_images") or 2 * LARGEST_QUEUE
        size = max(batch, min(images // 2, LARGEST_QUEUE) // batch * batch)
    if size % batch:
        raise UserError(
            f"method_kwargs.queue_size is {size}, it must be divisible by the batch of {batch} "
            "images over all devices"
        )
    return int(size)


class KeyQueue(nn.Module):
    """The latest normalised keys of every view, first in, first out; saved in the checkpoint.

    Args:
        views: V, number of queues, one for each view.
        dim: D, length of a key.
        size: K, number of keys in each queue; random directions at the start.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, views: int, dim: int, size: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(views, dim, size), dim=1))
        self.register_buffer("position", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def enqueue(self, *keys: Tensor) -> None:
        """Replace the oldest keys by the keys (N, D) of each view, from all processes.

        Raises:
            UserError: the queue's size is not a multiple of the number of new keys.
        """
        stacked = torch.stack([gathered(view) for view in keys]).to(self.keys.dtype)
        count, size = stacked.shape[1], self.keys.shape[2]
        if size % count:
            raise UserError(
                f"method_kwargs.queue_size {size} is not divisible by the global batch of {count}"
            )
        # the host does not read the position, which would wait for a GPU
        places = self.position + torch.arange(count, device=self.position.device)
        self.keys.index_copy_(2, places, stacked.transpose(1, 2))
        self.position.copy_((self.position + count) % size)

    @torch.no_grad()
    def nearest(self, z: Tensor, count: int = 1) -> Tensor:
        """Return the first queue's keys nearest to each row of `z`, (N, D) or (N, count, D)."""
        keys = self.keys[0]
        with full_precision(z):
            found: Tensor = keys.T[(z.to(keys.dtype) @ keys).topk(count).indices]
        return found[:, 0] if count == 1 else found


class NeighbourQueueMixin(Host):
    """Replaces the `targets` that a method predicts by their neighbours in a queue."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.queue = KeyQueue(1, cfg.method_kwargs.proj_output_dim, queue_size(cfg))

    def targets(self, views: list[Tensor]) -> list[Tensor]:
        """Return the neighbours of each view's projections (N, D); then enqueue the first view."""
        found = [self.queue.nearest(z) for z in views]
        self.queue.enqueue(normalize(views[0].detach()))
        return found
