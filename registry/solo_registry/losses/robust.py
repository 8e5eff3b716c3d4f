"""RINCE: a contrastive loss that is robust to noisy views."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solo_registry.losses.rows import view_logits


def rince(
    z: Tensor, indexes: Tensor, temperature: float, *, q: float, lambda_param: float
) -> Tensor:
    r"""RINCE, robust InfoNCE (Chuang et al. 2022, arXiv 2201.04309).

    With the positive's logit x_p and the logits x_j of all others, the positive included:

        loss_i = -e^{q x_p} / q + (λ Σ_j e^{x_j})^q / q

    q -> 0 is InfoNCE plus log λ; q = 1 is symmetric, hence robust. Computed as a difference of
    expm1, which is exact for small q as well. The values grow as e^{q/τ}.

    Args:
        z: (2*N, D) projections of two views, not normalised.
        indexes: (2*N,) image of each row; two rows for each image.
        temperature: τ, divides the cosine similarities, > 0.
        q: in (0, 1].
        lambda_param: λ, weight of the denominator, in (0, 1].

    Returns:
        Scalar mean over this process's anchors; the candidates are gathered from all processes.

    >>> z = torch.eye(4)[[0, 1, 0, 1]]
    >>> loss = rince(z, torch.tensor([0, 1, 0, 1]), 1.0, q=1.0, lambda_param=0.5)
    >>> f"{loss:.4f}"  # (e + 2) / 2 - e
    '-0.3591'
    """
    logits, positive = view_logits(z, indexes, temperature)
    everyone = math.log(lambda_param) + logits.logsumexp(1)
    pull = logits.where(positive, 0).sum(1)
    return ((torch.expm1(q * everyone) - torch.expm1(q * pull)) / q).mean()
