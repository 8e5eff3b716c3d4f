"""The pairs that a contrastive loss compares, and its gradient with respect to their similarities.

`PairMask` says which pairs they are. `ComparedPairs` adds the embeddings;
`BaseMethod.compared_pairs` returns it for telemetry. The losses of `solo_dyntemp`, which need torch
alone, import this module: so it imports torch alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ComparedPairs", "PairMask", "TauOfPairs", "pair_gradient"]
TauOfPairs = Callable[[Tensor], Tensor | None]
"""A function from similarities (A, B) to temperatures (A, B) or (A, 1); None for losses without."""


@dataclass(frozen=True)
class PairMask:
    """Which pairs of anchors (rows) and candidates (columns) are positive, and which are excluded.

    Attributes:
        positive: (A, B) pairs that the loss pulls together.
        excluded: (A, B) pairs that are not in an anchor's denominator: the anchor with itself and,
            in a decoupled loss, the positives. None if every pair is.
        start: number of the first anchor in the batch, for a mask of some of its anchors.
    """

    positive: Tensor
    excluded: Tensor | None = None
    start: int = 0

    @classmethod
    def of_groups(
        cls, rows: Tensor, columns: Tensor, *, own: int | Tensor | None, start: int = 0
    ) -> PairMask:
        """Make the pairs of equal group positive and exclude each anchor with itself.

        Args:
            rows: (A,) group of each anchor: its image, or its class.
            columns: (B,) group of each candidate.
            own: column of anchor 0 itself; that of anchor i is `own` + i. Or the column of each,
                (A,). None if the anchors are not among the candidates.
            start: as in `PairMask`.

        >>> mask = PairMask.of_groups(torch.tensor([0, 1]), torch.tensor([0, 1, 0, 1]), own=0)
        >>> mask.positive.int().tolist()[0], mask.excluded.int().tolist()[0]
        ([0, 0, 1, 0], [1, 0, 0, 0])
        """
        positive = rows[:, None] == columns
        if own is None:
            return cls(positive, None, start)
        itself = torch.zeros_like(positive)
        if isinstance(own, Tensor):
            itself.scatter_(1, own[:, None], True)
        else:
            itself.diagonal(own).fill_(True)
        return cls(positive & ~itself, itself, start)

    def decoupled(self) -> PairMask:
        """Return the mask that also excludes the positives."""
        positive = self.positive
        return replace(
            self, excluded=positive if self.excluded is None else self.excluded | positive
        )

    @property
    def negative(self) -> Tensor:
        """Pairs that the loss pushes apart, (A, B)."""
        return ~self.positive if self.excluded is None else ~self.positive & ~self.excluded

    def numerator(self, logits: Tensor) -> Tensor:
        """Return the logits (A, B) of the positives, and -inf for all other pairs."""
        return logits.masked_fill(~self.positive, -torch.inf)

    def denominator(self, logits: Tensor) -> Tensor:
        """Return the logits (A, B), and -inf for excluded pairs."""
        return logits if self.excluded is None else logits.masked_fill(self.excluded, -torch.inf)


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
