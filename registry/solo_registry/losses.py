"""The fixed-temperature losses that the baselines train with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightly.utils.dist import gather, rank, world_size
from torch import Tensor


def gathered(rows: Tensor) -> Tensor:
    """Stack the (N, ...) rows of all processes, with gradient; one process's as they are."""
    return torch.cat(gather(rows)) if world_size() > 1 else rows


def unit(rows: Tensor) -> Tensor:
    """Normalise (N, D) rows to length 1, in float32 at least."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1)


def infonce(z: Tensor, indexes: Tensor, temperature: float) -> Tensor:
    """NT-Xent over any number of views (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    For anchor i: logsumexp over all others minus logsumexp over the other views of its image, the
    form solo-learn uses when there are more than two views. With labels as indexes it is SupCon's
    L_in.

    Args:
        z: (V*N, D) projections of all views, not normalised.
        indexes: (V*N,) image of each row.
        temperature: divides the cosine similarities, > 0.

    Returns:
        Scalar mean over this process's anchors; the candidates are gathered from all processes.

    >>> z = torch.eye(4)[[0, 0]]
    >>> f"{infonce(z, torch.tensor([0, 0]), temperature=0.5):.4f}"
    '0.0000'
    """
    z = unit(z)
    logits = z @ gathered(z).T / temperature
    positive = indexes[:, None] == gathered(indexes)[None, :]
    itself = torch.arange(len(z), device=z.device) + rank() * len(z)
    positive[torch.arange(len(z), device=z.device), itself] = False
    logits = logits.scatter(1, itself[:, None], -torch.inf)
    return (logits.logsumexp(1) - logits.masked_fill(~positive, -torch.inf).logsumexp(1)).mean()


def infonce_paired(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Each anchor against all candidates; the one in its own row is the positive.

    The form of MoCo v3 (arXiv 2104.02057) and NNCLR (arXiv 2104.14548).

    Args:
        anchors: (N, D), not normalised.
        candidates: (N, D), not normalised; gathered from all processes, with gradient.
        temperature: divides the cosine similarities, > 0.

    Returns:
        Scalar mean over this process's anchors.
    """
    anchors, candidates = unit(anchors), unit(candidates)
    logits = anchors @ gathered(candidates).T / temperature
    own = torch.arange(len(anchors), device=anchors.device) + rank() * len(anchors)
    return F.cross_entropy(logits, own)


def infonce_queue(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """MoCo's loss: one positive key, and the queue as negatives (He et al. 2020, eq. 1).

    Args:
        query: (N, D).
        key: (N, D), without gradient.
        queue: (D, K), normalised.
        temperature: divides the cosine similarities, > 0.

    Returns:
        Scalar mean over the queries.
    """
    query, key = unit(query), unit(key)
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ queue.to(query.dtype)], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
