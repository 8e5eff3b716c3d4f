"""What the losses share: rows of all processes, unit rows, the logits of all views."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor


def gathered(rows: Tensor) -> Tensor:
    """Stack the (N, ...) rows of all processes, with gradient; one process's as they are."""
    return torch.cat(gather(rows)) if world_size() > 1 else rows


def to_float32(rows: Tensor) -> Tensor:
    """Return the rows in float32; rows in double stay in double."""
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def normalize(rows: Tensor) -> Tensor:
    """Normalise rows (..., D) to length 1, in float32 at least."""
    return F.normalize(to_float32(rows), dim=-1)


def similarities(anchors: Tensor, candidates: Tensor) -> Tensor:
    """Compare rows with those of all processes, in float32 at least, also under autocast.

    Args:
        anchors: (N, D), not normalised.
        candidates: (M, D), not normalised; gathered from all processes, with gradient.

    Returns:
        Cosines (N, W*M); W processes.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        return normalize(anchors) @ gathered(normalize(candidates)).T


def own_columns(rows: Tensor) -> Tensor:
    """Return the places (N,) that this process's `rows` (N, ...) have among those of all."""
    start: int = rank() * len(rows)
    return torch.arange(start, start + len(rows), device=rows.device)


def view_logits(z: Tensor, indexes: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Compare this process's views with those of all processes.

    Args:
        z: (M, D) projections of all views, not normalised.
        indexes: (M,) what makes two rows positives: the image, or the class.
        temperature: divides the cosine similarities, > 0.

    Returns:
        The logits (M, W*M) with -inf where a view meets itself, and which of them are positives;
        W processes.
    """
    itself = own_columns(z)
    logits = similarities(z, z) / temperature
    positive = indexes[:, None] == gathered(indexes)[None, :]
    positive[torch.arange(len(z), device=z.device), itself] = False
    return logits.scatter(1, itself[:, None], -torch.inf), positive
