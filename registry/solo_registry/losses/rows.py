"""Functions that the losses share: gather, normalise, and compare all pairs in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor

from solo_registry.metrics.pair_mask import PairMask


def gathered(rows: Tensor) -> Tensor:
    """Stack the (N, ...) rows of all processes, with gradient."""
    return torch.cat(gather(rows)) if world_size() > 1 else rows


def to_float32(rows: Tensor) -> Tensor:
    """Convert half-precision rows to float32; double stays double."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def full_precision(rows: Tensor) -> torch.autocast:
    """Return a context without autocast on the device of `rows`: it rounds no matrix product."""
    return torch.autocast(rows.device.type, enabled=False)


def normalize(rows: Tensor) -> Tensor:
    """Normalise rows (..., D) to length 1, in float32 at least."""
    return F.normalize(to_float32(rows), dim=-1)


def similarities(anchors: Tensor, candidates: Tensor) -> Tensor:
    """Compare rows with those of all processes, in float32 at least, also under autocast.

    Args:
        anchors: (N, D), not normalised.
        candidates: (M, D), not normalised; gathered from all processes, with gradient.

    Returns:
        Cosines (N, W*M), with W processes.
    """
    with full_precision(anchors):
        return normalize(anchors) @ gathered(normalize(candidates)).T


def own_columns(rows: Tensor) -> Tensor:
    """Return the places (N,) of this process's `rows` (N, ...) among those of all processes."""
    start: int = rank() * len(rows)
    return torch.arange(start, start + len(rows), device=rows.device)


def view_logits(z: Tensor, indexes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Compare this process's views with those of all processes.

    Args:
        z: (M, D) projections of all views, not normalised.
        indexes: (M,) group of each row, its image or its class; rows of one group are positives.
        temperature: divides the cosine similarities, > 0.

    Returns:
        The logits (M, W*M) with -inf for each view with itself, and the mask of the positives; W is
        the number of processes.
    """
    mask = PairMask.of_groups(indexes, gathered(indexes), own=rank() * len(z))
    return mask.denominator(similarities(z, z) / temperature), mask.positive
