"""The reference: whole rows of the similarity matrix, gradients by autograd, any temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from solo_dyntemp.temperature import Block, Temperature

LARGEST_BLOCK = 2**23  # pairs computed at a time; larger matrices are computed again in backward


@dataclass(frozen=True)
class Pairs:
    """The positive, negative and excluded pairs of anchors (rows) and candidates (columns).

    Attributes:
        row_ids: identity of each anchor, shape (A,).
        column_ids: identity of each candidate, shape (B,); pairs of equal identity are positives.
        own: column of anchor 0's own embedding; that of anchor i is `own` + i. None if anchors are
            not among the candidates.
        decoupled: positives do not enter the denominator.
        mean: numerators are the mean of the positives' logits, not their log-sum.
    """

    row_ids: Tensor
    column_ids: Tensor
    own: int | None
    decoupled: bool = False
    mean: bool = False

    def block(self, start: int, stop: int) -> Block:
        """Return the masks of anchors start..stop."""
        positive = self.row_ids[start:stop, None] == self.column_ids
        excluded = positive if self.decoupled else None
        if self.own is not None:
            itself = torch.zeros_like(positive)
            itself.diagonal(self.own + start).fill_(True)
            positive = positive & ~itself
            excluded = itself if excluded is None else excluded
        return Block(positive, excluded, start)


def terms(
    s: Tensor,
    block: Block,
    *,
    temperature: Temperature,
    detach: bool,
    mean: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return every anchor's numerator and denominator as logarithms.

    Args:
        s: similarities, shape (A, B).
        block: the masks of positives, at least one of each anchor, and of excluded pairs.
        temperature: the temperature function.
        detach: stop the gradient through the temperature.
        mean: the numerator is the mean of the positives' logits.

    Returns:
        numerators and denominators, each of shape (A,).
    """
    logits = s / temperature.pairs(s.detach() if detach else s, block)
    if mean:
        numerator = logits.masked_fill(~block.positive, 0).sum(1) / block.positive.sum(1)
    else:
        numerator = logits.masked_fill(~block.positive, -torch.inf).logsumexp(1)
    excluded = block.excluded
    if temperature.decoupled:
        excluded = block.positive if excluded is None else excluded | block.positive
    if excluded is not None:
        logits = logits.masked_fill(excluded, -torch.inf)
    return numerator, logits.logsumexp(1)


def contrast(
    rows: Tensor, columns: Tensor, pairs: Pairs, *, temperature: Temperature, detach: bool
) -> tuple[Tensor, Tensor]:
    """Return every anchor's numerator and denominator as logarithms.

    A matrix larger than `LARGEST_BLOCK` is processed in blocks of whole rows. Their intermediate
    results are not kept; the backward pass computes them again.

    Args:
        rows: anchors at unit length, shape (A, D).
        columns: candidates at unit length, shape (B, D).
        pairs: the positive and excluded pairs.
        temperature: the temperature function.
        detach: stop the gradient through the temperature.

    Returns:
        numerators and denominators, each of shape (A,).
    """

    def block(start: int, stop: int) -> tuple[Tensor, Tensor]:
        s = rows[start:stop] @ columns.T
        which = pairs.block(start, stop)
        return terms(s, which, temperature=temperature, detach=detach, mean=pairs.mean)

    return in_blocks(block, len(rows), len(columns))


def in_blocks(
    block: Callable[[int, int], tuple[Tensor, Tensor]], rows: int, columns: int
) -> tuple[Tensor, Tensor]:
    """Call `block(start, stop)` for blocks of whole rows and return the joined results.

    Args:
        block: computes numerators and denominators of some rows.
        rows: number of rows.
        columns: number of columns; a block has at most `LARGEST_BLOCK` pairs.
    """
    step = max(1, LARGEST_BLOCK // columns)
    if step >= rows:
        return block(0, rows)
    parts = [
        checkpoint(block, start, min(start + step, rows), use_reentrant=False)
        for start in range(0, rows, step)
    ]
    numerators, denominators = zip(*parts, strict=True)
    return torch.cat(numerators), torch.cat(denominators)
