"""The pairs that a contrastive loss compares, and its gradient by their similarities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

TauOfPairs = Callable[[Tensor], Tensor | None]
"""A function from similarities (A, B) to temperatures (A, B) or (A, 1); None for losses without."""


@dataclass(frozen=True)
class Contrast:
    """The pairs that a loss compares in a batch of N images.

    Attributes:
        anchors: (A, D) rows, A a multiple of N. Row i shows image i % N.
        candidates: (B, D) rows, B a multiple of N. Row j shows image j % N.
        positive: (A, B) pairs that the loss pulls together.
        excluded: (A, B) pairs that are not in an anchor's denominator: the anchor itself, and in a
            decoupled loss also the positives.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor
    excluded: Tensor

    @classmethod
    def among_views(cls, z: Tensor, groups: Tensor, *, decoupled: bool = False) -> Contrast:
        """Pair all views `z` (V*N, D) with all others; equal `groups` (V*N,) are positives.

        >>> contrast = Contrast.among_views(torch.eye(4), torch.tensor([0, 1, 0, 1]))
        >>> contrast.positive.int().tolist()[0], contrast.excluded.int().tolist()[0]
        ([0, 0, 1, 0], [1, 0, 0, 0])
        """
        same = groups[:, None] == groups
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        return cls(z, z, same & ~itself, same if decoupled else itself)

    @classmethod
    def paired(cls, anchors: Tensor, candidates: Tensor) -> Contrast:
        """Pair each anchor (N, D) with all candidates (N, D); its own row is the positive."""
        positive = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
        return cls(anchors, candidates, positive, torch.zeros_like(positive))

    def similarities(self) -> Tensor:
        """Cosines of all pairs, (A, B), in float64."""
        sides = (self.anchors, self.candidates)
        rows, columns = (F.normalize(side.detach().double(), dim=1) for side in sides)
        return (rows @ columns.T).clamp_(-1, 1)


def pair_gradient(s: Tensor, contrast: Contrast, tau: TauOfPairs, *, detach: bool) -> Tensor:
    """Return the gradient of the InfoNCE loss with respect to the similarity of each pair.

    The loss of an anchor is logsumexp of s / tau over its candidates minus logsumexp over its
    positives. The weights that some methods give to whole anchors are left out. With tau detached
    the gradient is (P - Y) / tau, where P and Y are the softmax over candidates and over positives.
    With tau differentiated, autograd computes the gradient through tau.

    Args:
        s: (A, B) similarities.
        contrast: which pairs count.
        tau: the temperature of each pair.
        detach: stop the gradient through tau.

    Returns:
        (A, B) gradients of the sum over anchors.

    Raises:
        ValueError: there is no temperature.

    >>> contrast = Contrast.paired(torch.eye(2), torch.eye(2))
    >>> tau = lambda s: torch.full_like(s, 0.5)
    >>> pair_gradient(contrast.similarities(), contrast, tau, detach=True).sum().abs() < 1e-12
    tensor(True)
    """
    with torch.enable_grad():
        s = s.detach().requires_grad_()
        temperatures = tau(s.detach() if detach else s)
        if temperatures is None:
            raise ValueError("there is no gradient without a temperature")
        logits = s / temperatures
        positives = logits.masked_fill(~contrast.positive, -torch.inf).logsumexp(1)
        candidates = logits.masked_fill(contrast.excluded, -torch.inf).logsumexp(1)
        (gradient,) = torch.autograd.grad((candidates - positives).sum(), s)
    return gradient
