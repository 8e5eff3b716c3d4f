"""Which pairs a contrastive loss compares.

The losses of `solo_dyntemp` and the measures of `solo_registry` both use it, and neither may import
the other's, so it has a package of its own. It imports torch alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["PairMask"]


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
