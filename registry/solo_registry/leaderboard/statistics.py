"""Means with intervals, and paired tests of a family with Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

LEVEL = 0.95


@dataclass(frozen=True)
class Summary:
    """Values of one row over its seeds.

    Attributes:
        n: number of values.
        mean: their mean, None without values.
        std: sample standard deviation (n - 1), None below two values.
        half: half the width of the 95% t interval of the mean, None below two values.
    """

    n: int
    mean: float | None
    std: float | None
    half: float | None


def summarise(values: Sequence[float]) -> Summary:
    """Return mean, spread and the t interval mean ± t_{0.975, n-1} std / sqrt(n).

    >>> summary = summarise([1.0, 2.0, 3.0])
    >>> summary.n, summary.mean, summary.std, round(summary.half, 4)
    (3, 2.0, 1.0, 2.4841)
    >>> summarise([4.0])
    Summary(n=1, mean=4.0, std=None, half=None)
    """
    n = len(values)
    if n < 2:
        return Summary(n, float(values[0]) if n else None, None, None)
    std = float(np.std(values, ddof=1))
    return Summary(n, float(np.mean(values)), std, float(half_width(std, n, 1 - LEVEL)))


def half_width(std: Any, n: Any, level: Any) -> Any:
    """Return half the width of the t interval that misses the mean with probability `level`."""
    return stats.t.isf(level / 2, n - 1) * std / np.sqrt(n)


@dataclass(frozen=True)
class Comparison:
    """A paired t test of a row against the reference.

    Attributes:
        n: number of pairs: common seeds, or tunings (see `compare`).
        difference: mean of (row - reference), None without a pair.
        std: sample standard deviation of the pairs' differences, None below two pairs.
        half: half the width of the difference's own 95% interval, uncorrected.
        p: two-sided p; None without a test (fewer than two pairs, or no variation).
        holm: p after Holm's correction over the family; None outside of it.
        level: the level at which Holm's procedure tested it.
        interval: the corrected interval, which has this level; None outside of the family.
        verdict: what all differences in the corrected interval have in common. "win" or "loss": one
            sign. "equivalent": all are within the margin (two one-sided tests, Schuirmann 1987).
            "inconclusive": neither. "exploratory": the row is outside of the family.
    """

    n: int
    difference: float | None
    std: float | None
    half: float | None
    p: float | None
    holm: float | None = None
    level: float | None = None
    interval: tuple[float, float] | None = None
    verdict: str = "no test"


def compare(
    row: Mapping[str, float],
    reference: Mapping[str, float],
    tunings: Mapping[str, int] | None = None,
) -> Comparison:
    """Test a row's values against the reference's, paired by seed.

    Args:
        row: values by seed.
        reference: values by seed.
        tunings: number of the tuning that each seed belongs to, if a strategy was tuned several
            times. A pair is then a tuning: the mean difference over its seeds. Seeds of one tuning
            share its selected points, so they are no independent trials of the strategies.

    >>> found = compare({"1": 3.0, "2": 5.0, "3": 4.0}, {"1": 2.0, "2": 3.0, "3": 1.0})
    >>> found.n, found.difference, round(found.half, 6), round(found.p, 6)
    (3, 2.0, 2.484138, 0.07418)
    """
    pairs: dict[str | int, list[float]] = {}
    for seed in sorted(set(row) & set(reference)):
        pairs.setdefault(tunings[seed] if tunings else seed, []).append(row[seed] - reference[seed])
    gaps = [float(np.mean(differences)) for differences in pairs.values()]
    gap = summarise(gaps)
    if len(set(gaps)) < 2:  # equal to the last digit: t would be infinite, which means nothing
        return Comparison(gap.n, gap.mean, gap.std, gap.half, None)
    p = float(stats.ttest_1samp(gaps, 0.0).pvalue)
    return Comparison(gap.n, gap.mean, gap.std, gap.half, p, verdict="exploratory")


def holm(ps: Array, alpha: float) -> tuple[Array, Array]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

    The smallest of m p values is tested at alpha / m, the next one at alpha / (m - 1) and so on,
    until one is not rejected; the others are not rejected at that level either.

    Args:
        ps: p values, (..., m): families along the last axis.
        alpha: chance of any false rejection.

    Returns:
        The corrected p values, and the level at which each was tested.

    >>> corrected, levels = holm(np.array([0.01, 0.04, 0.03]), 0.05)
    >>> corrected.round(6).tolist(), (0.05 / levels).round(6).tolist()
    ([0.03, 0.06, 0.06], [3.0, 2.0, 2.0])
    """
    count = ps.shape[-1]
    order, left = np.argsort(ps, axis=-1, kind="stable"), count - np.arange(count)
    ranked = np.minimum(1.0, left * np.take_along_axis(ps, order, -1))
    ranked = np.maximum.accumulate(ranked, axis=-1)
    last = np.minimum((ranked < alpha).sum(-1, keepdims=True), count - 1)
    levels = alpha / left[np.minimum(np.arange(count), last)]
    back = np.argsort(order, axis=-1)
    return np.take_along_axis(ranked, back, -1), np.take_along_axis(levels, back, -1)


def verdicts(low: Array, high: Array, margin: float) -> NDArray[np.str_]:
    """Return the verdict on each corrected interval, see `Comparison`.

    >>> verdicts(np.array([0.1, -2, -0.1, -0.1]), np.array([2, -0.1, 2, 0.1]), 0.5).tolist()
    ['win', 'loss', 'inconclusive', 'equivalent']
    """
    within = (-margin < low) & (high < margin)
    return np.select([low > 0, high < 0, within], ["win", "loss", "equivalent"], "inconclusive")


def decide(family: Sequence[Comparison], alpha: float, margin: float) -> list[Comparison]:
    """Correct the tests of a family for their number, and decide on each.

    The corrected interval of a row has the level at which Holm's procedure tested it. So it
    excludes 0 if, and only if, Holm's p is below alpha. Each interval covers its difference with at
    least 1 - alpha, and any false verdict has the chance alpha.

    Args:
        family: the tests, those without a p included: they count.
        alpha: chance of any false win or loss.
        margin: differences within it, on both sides of 0, are called equivalent.
    """
    if not family:
        return []
    corrected, levels = holm(np.array([1.0 if t.p is None else t.p for t in family]), alpha)
    found = []
    for test, p, level in zip(family, corrected.tolist(), levels.tolist(), strict=True):
        if test.p is None or test.difference is None:
            found.append(test)
            continue
        half = float(half_width(test.std, test.n, level))
        interval = test.difference - half, test.difference + half
        low, high = np.array(interval)
        verdict = str(verdicts(low, high, margin))
        found.append(replace(test, holm=p, level=level, interval=interval, verdict=verdict))
    return found
