"""What the kernels that never hold the matrix are told, and what both refuse."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from solo_dyntemp.temperature import Temperature


@dataclass(frozen=True)
class Walk:
    """What is summed.

    Attributes:
        temperature: an elementwise temperature.
        detach: stop the gradient through the temperature.
        block: candidates i // block == j // block are left out: 1 leaves out the anchor itself,
            the number of views all views of its image, 0 nothing.
        offset: column at which the rows begin, where they are part of the columns.
    """

    temperature: Temperature
    detach: bool
    block: int = 0
    offset: int = 0


def refuse_double_backward() -> None:
    """Raise RuntimeError where a backward pass is itself to be differentiated."""
    if torch.is_grad_enabled():  # only so when create_graph=True
        raise RuntimeError(
            "implementation='tiled' and 'triton' have no second derivative; use "
            "implementation='dense'"
        )
