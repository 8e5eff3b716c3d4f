"""Forwards a batch in parts, with the memory of one part and the gradient of the whole batch.

GradCache (Gao et al. 2021, arXiv 2101.06983): the loss sees the outputs of all parts, but a part's
activations exist only twice for a short time: in its forward pass, which keeps the outputs alone,
and in its own backward pass, which forwards it again. `torch.utils.checkpoint` does both. So the
backward pass of a batch stays one: processes exchange gradients once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Forward = Callable[[Tensor], dict[str, Any]]


def in_micro_batches(
    module: nn.Module, forward: Forward, X: Tensor, size: int | None
) -> dict[str, Any]:
    """Return what `forward` makes of X (N, ...), at most `size` rows at a time.

    The second forward pass of a part repeats the random draws of the first, and leaves the running
    statistics of BatchNorm as they are.

    Args:
        module: contains all networks that `forward` calls.
        forward: returns tensors by name, with a row for each row of X.
        X: the images.
        size: rows of a part; None is all of X, without a second pass.

    >>> linear = nn.Linear(2, 3)
    >>> out = in_micro_batches(linear, lambda x: {"z": linear(x)}, torch.zeros(5, 2), 2)
    >>> out["z"].shape
    torch.Size([5, 3])
    """
    if size is None or size >= len(X):
        return forward(X)

    def trimmed(part: Tensor) -> dict[str, Any]:
        if part.device.type == "cpu":
            return_memory()
        return forward(part)

    def one(part: Tensor) -> dict[str, Any]:
        # parts that share a 16-bit copy of a weight would sum their gradients in 16 bits
        torch.clear_autocast_cache()
        if not torch.is_grad_enabled():
            return trimmed(part)
        found: dict[str, Any] = checkpoint(
            trimmed,
            part,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), kept_statistics(module)),
        )
        return found

    outs = [one(part) for part in torch.split(X, size)]
    return {key: torch.cat([out[key] for out in outs]) for key in outs[0]}


@contextmanager
def kept_statistics(module: nn.Module) -> Iterator[None]:
    """Let the normalisations in `module` move copies of their running statistics.

    >>> norm = nn.BatchNorm1d(2)
    >>> with kept_statistics(norm):
    ...     _ = norm(torch.ones(3, 2))
    >>> norm.running_mean
    tensor([0., 0.])
    """
    parts = [part._buffers for part in module.modules()]
    kept = [(part, dict(part)) for part in parts if any(map(is_running, part))]
    try:
        for part, own in kept:
            part.update({name: None if value is None else value.clone()
                         for name, value in own.items()})  # fmt: skip
        yield
    finally:
        for part, own in kept:
            part.update(own)


def return_memory() -> None:
    """Give memory that is free back to the system, where the C library is glibc.

    Small tensors that stay keep glibc from doing so by itself, so each part would take new memory.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        return None


def is_running(name: str) -> bool:
    """Whether a buffer of this name is one of PyTorch's or timm's running statistics, or ours."""
    return name.startswith("running_")
