"""Checks of arguments. They raise a ValueError that names the wrong shape or value.

They never read the values of embeddings, which would wait for the GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def check_embeddings(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors are floating, (N, D), not empty, on one device.

    Half precision and float32 may be mixed, because the losses compute in float32. Double may not.
    """
    first = next(iter(tensors.values()))
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"{name} must be a floating point tensor, got {kind}")
        if tensor.ndim != 2:
            raise ValueError(f"{name} must have two dimensions, got shape {tuple(tensor.shape)}")
        if tensor.numel() == 0:
            raise ValueError(f"{name} must not be empty, got shape {tuple(tensor.shape)}")
        if tensor.device != first.device:
            raise ValueError(
                f"{name} must be on the device of the other tensors, {first.device}, "
                f"got {tensor.device}"
            )
        if (tensor.dtype == torch.float64) != (first.dtype == torch.float64):
            raise ValueError(
                f"{name} must be double only if all tensors are, got {tensor.dtype} beside "
                f"{first.dtype}"
            )


def check_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have one shape."""
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"shapes must be equal, got {shapes}")


def check_indexes(name: str, indexes: Tensor, z: Tensor) -> None:
    """Raise ValueError unless `indexes` holds one integer for each row of `z`, on its device."""
    if not isinstance(indexes, Tensor):
        raise ValueError(f"{name} must be an integer tensor, got {type(indexes).__name__}")
    if indexes.is_floating_point() or indexes.is_complex() or str(indexes.dtype) == "torch.bool":
        raise ValueError(f"{name} must be an integer tensor, got {indexes.dtype}")
    if indexes.shape != z.shape[:1]:
        raise ValueError(
            f"{name} must have shape ({z.shape[0]},), one for each row, got {tuple(indexes.shape)}"
        )
    if indexes.device != z.device:
        raise ValueError(
            f"{name} must be on the device of the embeddings, {z.device}, got {indexes.device}"
        )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
