"""InfoNCE with negatives corrected for the anchor's own class, and with hard negatives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from solo_registry.losses.rows import view_logits


def debiased_infonce(
    z: Tensor, indexes: Tensor, temperature: float, *, tau_plus: float, beta: float = 0.0
) -> Tensor:
    r"""Debiased contrastive learning; with `beta` above 0, its form HCL with hard negatives.

    With the K negatives' logits x_j and the positive's x_p, the negatives' sum R becomes

        N_g = max((R - τ⁺ K e^{x_p}) / (1 - τ⁺), K e^{-1/τ}),  R = K Σ e^{(1+β) x_j} / Σ e^{β x_j}

    and the loss of an anchor is -log(e^{x_p} / (e^{x_p} + N_g)). β = 0 is Chuang et al. 2020
    (arXiv 2007.00224), β > 0 Robinson et al. 2021 (arXiv 2010.04592), τ⁺ = 0 with β = 0 NT-Xent.
    Computed with logarithms, so that no exponential overflows. Where the maximum is its second
    value, no gradient reaches the negatives, as in the authors' code.

    Args:
        z: (2*N, D) projections of two views, not normalised.
        indexes: (2*N,) image of each row; two rows for each image, at least two images.
        temperature: τ, divides the cosine similarities, > 0.
        tau_plus: τ⁺, share of the negatives that are of the anchor's class, in [0, 1).
        beta: how much harder negatives weigh more, >= 0.

    Returns:
        Scalar mean over this process's anchors; the candidates are gathered from all processes.

    >>> z = torch.eye(4)[[0, 1, 0, 1]]
    >>> loss = debiased_infonce(z, torch.tensor([0, 1, 0, 1]), 1.0, tau_plus=0.0)
    >>> f"{loss:.4f}"  # ln(e + 2) - 1
    '0.5514'
    """
    logits, positive = view_logits(z, indexes, temperature)
    pull = logits.where(positive, 0).sum(1)
    negatives = logits.masked_fill(positive, -torch.inf)
    count = logits.shape[1] - 2
    push = ((1 + beta) * negatives).logsumexp(1)
    if beta:
        push = push - (beta * negatives).logsumexp(1) + math.log(count)
    if tau_plus:
        excess = pull + math.log(tau_plus * count) - push  # log of the share to subtract
        left = excess < 0
        excess = excess.where(left, -1.0)  # any value whose gradient is finite
        push = push + torch.log(-torch.expm1(excess)) - math.log1p(-tau_plus)
        push = push.where(left, -torch.inf)
    push = push.clamp_min(math.log(count) - 1 / temperature)
    return (torch.logaddexp(pull, push) - pull).mean()
