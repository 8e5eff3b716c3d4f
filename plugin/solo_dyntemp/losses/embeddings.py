"""Prepares embeddings: precision and unit length."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from solo_dyntemp.temperature import Temperature, TemperatureLike, as_temperature

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


def prepared(temperature: TemperatureLike, detach: bool) -> tuple[Temperature, bool]:
    """Return what a loss was given as a temperature, and whether its gradient is stopped."""
    temperature = as_temperature(temperature)
    return temperature, detach and temperature.detachable


def split(z: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor | None]:
    """Return the embeddings (N, D), and the outputs beyond them that the temperature reads.

    Args:
        z: outputs of the head, shape (N, D + `temperature.outputs`).
        temperature: the temperature.

    Raises:
        ValueError: nothing is left for the embedding.
    """
    if not temperature.outputs:
        return z, None
    width = z.shape[1] - temperature.outputs
    if width < 1:
        raise ValueError(
            f"{temperature} reads {temperature.outputs} output of the head besides the embedding, "
            f"got shape {tuple(z.shape)}"
        )
    return z[:, :width], z[:, width:]
