"""Arguments of the tiled kernels, and a check that both of them make."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from solo_dyntemp.temperature import Temperature


@dataclass(frozen=True)
class KernelSettings:
    """Arguments of the tiled kernels: temperature, gradient mode, excluded pairs.

    Attributes:
        temperature: an elementwise temperature.
        detach: stop the gradient through the temperature.
        block: pairs with i // block == j // block are excluded. 1 excludes the anchor itself, the
            number of views excludes all views of its image, and 0 excludes nothing.
        offset: column of the first row, if the rows are part of the columns.
    """

    temperature: Temperature
    detach: bool
    block: int = 0
    offset: int = 0


def refuse_double_backward() -> None:
    """Raise RuntimeError if a backward pass must itself be differentiable."""
    if torch.is_grad_enabled():  # in a backward pass only with create_graph=True
        raise RuntimeError(
            "implementation='tiled' and 'triton' have no second derivative; use "
            "implementation='dense'"
        )
