"""Reduces the numerators and denominators of all anchors to one scalar."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from solo_dyntemp.temperature import Outcome, Temperature

Terms = tuple[Tensor, Tensor]  # numerators, denominators: logarithms, shape (M,) each


def mean_loss(
    terms: Callable[[Temperature], Terms],
    temperature: Temperature,
    *,
    negatives: float,
    decoupled: bool = False,
    positive_weight: Tensor | None = None,
    anchors: float | None = None,
) -> Tensor:
    """Return the mean over anchors of denominator - numerator, weighted by the temperature.

    Args:
        terms: computes numerators and denominators with a given temperature.
        temperature: the temperature of this batch.
        negatives: number of negatives of an anchor, the mean if anchors differ.
        decoupled: whether the denominators leave out the positives.
        positive_weight: factor of each numerator, shape (M,), or None.
        anchors: number to divide the sum by, where processes have different numbers of anchors.
    """
    temperature = temperature.survey(terms)
    numerator, denominator = terms(temperature)
    weighed = numerator if positive_weight is None else positive_weight * numerator
    decoupled = decoupled or temperature.decoupled
    outcome = Outcome(
        denominator - weighed,
        terms,
        numerator,
        denominator,
        decoupled,
        negatives,
        positive_weight,
    )
    losses = temperature.weigh(outcome)
    return losses.mean() if anchors is None else losses.sum() / max(anchors, 1 / 2)
