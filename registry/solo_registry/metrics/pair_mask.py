"""The pairs that a contrastive loss compares, and its gradient with respect to their similarities.

`solo_pairs.PairMask` says which pairs they are. `ComparedPairs` adds the embeddings;
`BaseMethod.compared_pairs` returns it for telemetry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_pairs import PairMask

__all__ = ["ComparedPairs", "PairMask", "TauOfPairs", "pair_gradient"]
TauOfPairs = Callable[[Tensor], Tensor | None]
"""A function from similarities (A, B) to temperatures (A, B) or (A, 1); None for losses without."""


@dataclass(frozen=True)
class ComparedPairs:
    """The embeddings that a loss compares in a batch of N images, and which pairs of them.

    Attributes:
        anchors: (A, D) rows, A a multiple of N. Row i shows image i % N.
        candidates: (B, D) rows, B a multiple of N. Row j shows image j % N.
        mask: the positive and the excluded pairs.
    """

    anchors: Tensor
    candidates: Tensor
    mask: PairMask

    @classmethod
    def among_views(cls, z: Tensor, groups: Tensor) -> ComparedPairs:
        """Pair all views `z` (V*N, D) with all others; equal `groups` (V*N,) are positives."""
        return cls(z, z, PairMask.of_groups(groups, groups, own=0))

    @classmethod
    def paired(cls, anchors: Tensor, candidates: Tensor) -> ComparedPairs:
        """Pair each anchor (N, D) with all candidates (N, D); its own row is the positive."""
        rows = torch.arange(len(anchors), device=anchors.device)
        return cls(anchors, candidates, PairMask.of_groups(rows, rows, own=None))

    def similarities(self) -> Tensor:
        """Return the cosines of all pairs, (A, B), in float64."""
        sides = (self.anchors, self.candidates)
        rows, columns = (F.normalize(side.detach().double(), dim=1) for side in sides)
        return (rows @ columns.T).clamp_(-1, 1)


def pair_gradient(s: Tensor, mask: PairMask, tau: TauOfPairs, *, detach: bool) -> Tensor:
    """Return the gradient of the InfoNCE loss with respect to the similarity of each pair.

    The loss of an anchor is logsumexp of s / tau over its candidates minus logsumexp over its
    positives. The weights that some methods give to whole anchors are left out. With tau detached
    the gradient is (P - Y) / tau, where P and Y are the softmax over candidates and over positives.
    With tau differentiated, autograd computes the gradient through tau.

    Args:
        s: (A, B) similarities.
        mask: the positive and the excluded pairs.
        tau: the temperature of each pair.
        detach: stop the gradient through tau.

    Returns:
        (A, B) gradients of the sum over anchors.

    Raises:
        ValueError: there is no temperature.

    >>> pairs = ComparedPairs.paired(torch.eye(2), torch.eye(2))
    >>> tau = lambda s: torch.full_like(s, 0.5)
    >>> pair_gradient(pairs.similarities(), pairs.mask, tau, detach=True).sum().abs() < 1e-12
    tensor(True)
    """
    with torch.enable_grad():
        s = s.detach().requires_grad_()
        temperatures = tau(s.detach() if detach else s)
        if temperatures is None:
            raise ValueError("there is no gradient without a temperature")
        logits = s / temperatures
        loss = mask.denominator(logits).logsumexp(1) - mask.numerator(logits).logsumexp(1)
        (gradient,) = torch.autograd.grad(loss.sum(), s)
    return gradient
