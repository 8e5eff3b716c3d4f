"""Prepares embeddings: precision and unit length."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

SHORTEST = 1e-12  # a vector of at most this length counts as zero


def full_precision(z: Tensor) -> AbstractContextManager[None]:
    """Return a context in which autocast is off on the device of `z`."""
    return torch.autocast(device_type=z.device.type, enabled=False)


def normalize(z: Tensor) -> Tensor:
    """Return the rows of `z` at unit length, at least in float32; double stays double.

    A row of length zero becomes zero, and so does its gradient. A division by a small constant
    would make the gradient enormous. Infinite or NaN rows become NaN.

    Args:
        z: embeddings, shape (N, D).
    """
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    # one factor for each row; dividing whole matrices would cost several copies of them
    scale = length.clamp_min(SHORTEST).reciprocal().masked_fill(length <= SHORTEST, 0)
    unit: Tensor = z * scale
    return unit
