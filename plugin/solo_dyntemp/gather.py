"""Gathering over processes with gradient: each process keeps its anchors and sees all views."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_alone = False


@contextmanager
def alone() -> Iterator[None]:
    """Let this process compute as if it were the only one."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def _distributed() -> bool:
    return not _alone and dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Return the number of processes, 1 without torch.distributed."""
    return dist.get_world_size() if _distributed() else 1


def rank() -> int:
    """Return the number of this process, 0 without torch.distributed."""
    return dist.get_rank() if _distributed() else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return all_gather(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # every process's loss depends on these rows: the sum is the gradient of the summed loss,
        # and the mean that DDP takes makes of it the gradient of the mean loss
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(world_size())[rank()]


def all_gather(values: Tensor) -> Tensor:
    """Return the values of all processes, concatenated in the order of ranks, without gradient."""
    if world_size() == 1:
        return values
    values = values.detach().contiguous()
    parts = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(parts, values)
    return torch.cat(parts)


def gather(z: Tensor) -> Tensor:
    """Return the rows of all processes, (world * N, D), with gradient to each process's own.

    Args:
        z: rows of this process, shape (N, D), the same shape on every process.
    """
    return z if world_size() == 1 else _Gather.apply(z)


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean over processes of a scalar, without gradient."""
    value = value.detach().clone()
    if world_size() > 1:
        dist.all_reduce(value)
        value /= world_size()
    return value


def check_equal_shapes(z: Tensor) -> None:
    """Raise ValueError on every process if the shapes of `z` differ between processes.

    Without this a gather of unequal batches would hang or mix up rows. One small collective call.
    """
    if world_size() == 1:
        return
    shapes = all_gather(torch.tensor([z.shape], device=z.device)).tolist()
    if any(shape != shapes[0] for shape in shapes):
        text = ", ".join(f"rank {i} {tuple(shape)}" for i, shape in enumerate(shapes))
        raise ValueError(
            f"every process must bring a batch of the same shape, got {text}; "
            f"use a sampler or loader that drops the last incomplete batch"
        )
