"""The reference: whole rows of the similarity matrix, gradients by autograd, any temperature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from solo_dyntemp.temperature import PairMask, Temperature

LARGEST_BLOCK = 2**23  # pairs at a time; the backward pass computes larger matrices again


def terms(
    s: Tensor,
    mask: PairMask,
    *,
    temperature: Temperature,
    detach: bool,
    mean: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return every anchor's numerator and denominator as logarithms.

    Args:
        s: similarities, shape (A, B).
        mask: the positive pairs, at least one of each anchor, and the excluded ones.
        temperature: the temperature function.
        detach: stop the gradient through the temperature.
        mean: the numerator is the mean of the positives' logits.

    Returns:
        numerators and denominators, each of shape (A,).
    """
    logits = s / temperature.pairs(s.detach() if detach else s, mask)
    if mean:
        numerator = logits.masked_fill(~mask.positive, 0).sum(1) / mask.positive.sum(1)
    else:
        numerator = mask.numerator(logits).logsumexp(1)
    if temperature.decoupled:
        mask = mask.decoupled()
    if (weights := temperature.log_weights(s.detach(), mask)) is not None:
        logits = logits + weights
    return numerator, mask.denominator(logits).logsumexp(1)


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
