"""InfoNCE at one temperature, in the forms of SimCLR, MoCo v3, NNCLR, MoCo and SupCon."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.losses.rows import (
    full_precision,
    normalize,
    own_columns,
    similarities,
    view_logits,
)


def infonce(z: Tensor, indexes: Tensor, temperature: float) -> Tensor:
    """NT-Xent over any number of views (Chen et al. 2020, arXiv 2002.05709, eq. 1).

    For anchor i: logsumexp over all others minus logsumexp over the other views of its image, as in
    solo-learn. With labels as indexes it is SupCon's L_in.

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
    logits, positive = view_logits(z, indexes, temperature)
    return (logits.logsumexp(1) - logits.masked_fill(~positive, -torch.inf).logsumexp(1)).mean()


def supcon_out(z: Tensor, indexes: Tensor, temperature: float) -> Tensor:
    """SupCon's L_out: the mean over positives outside the logarithm (arXiv 2004.11362, eq. 2).

    For anchor i: logsumexp over all others minus the mean logit of its positives.

    Args:
        z: (V*N, D) projections of all views, not normalised.
        indexes: (V*N,) class of each row; each row needs another one of its class.
        temperature: divides the cosine similarities, > 0.

    Returns:
        Scalar mean over this process's anchors; the candidates are gathered from all processes.

    >>> z = torch.eye(4)[[0, 1, 0, 1]]
    >>> f"{supcon_out(z, torch.zeros(4), temperature=1.0):.4f}"  # ln(e + 2) - 1 / 3
    '1.2181'
    """
    logits, positive = view_logits(z, indexes, temperature)
    pull = logits.where(positive, 0).sum(1) / positive.sum(1)
    return (logits.logsumexp(1) - pull).mean()


def infonce_paired(anchors: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Compare each anchor with all candidates; the candidate in its row is the positive.

    The form of MoCo v3 (arXiv 2104.02057) and NNCLR (arXiv 2104.14548).

    Args:
        anchors: (N, D), not normalised.
        candidates: (N, D), not normalised; gathered from all processes, with gradient.
        temperature: divides the cosine similarities, > 0.

    Returns:
        Scalar mean over this process's anchors.
    """
    return F.cross_entropy(similarities(anchors, candidates) / temperature, own_columns(anchors))


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
    query, key = normalize(query), normalize(key)
    positive = (query * key).sum(1, keepdim=True)
    with full_precision(query):
        negative = query @ queue.to(query.dtype)
    logits = torch.cat([positive, negative], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
