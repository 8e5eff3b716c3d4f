"""Means with intervals, and paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95
ALPHA = 1 - LEVEL


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
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * std / math.sqrt(n)
    return Summary(n, float(np.mean(values)), std, half)


@dataclass(frozen=True)
class Comparison:
    """A paired t test of a row against the reference, over the seeds both have.

    Attributes:
        n: number of common seeds.
        difference: mean of (row - reference), None without a common seed.
        half: half the width of its 95% interval, uncorrected; None below two seeds.
        p: two-sided p; None without a test (fewer than two seeds, or no variation).
        holm: p after Holm's correction over all tested rows.
    """

    n: int
    difference: float | None
    half: float | None
    p: float | None
    holm: float | None = None

    @property
    def verdict(self) -> str:
        """Return "win" or "loss" if the corrected p is below 0.05, else "tie", or "no test"."""
        if self.holm is None or self.difference is None:
            return "no test"
        if self.holm >= ALPHA:
            return "tie"
        return "win" if self.difference > 0 else "loss"


def compare(row: Mapping[str, float], reference: Mapping[str, float]) -> Comparison:
    """Test a row's values against the reference's, paired by seed.

    >>> found = compare({"1": 3.0, "2": 5.0, "3": 4.0}, {"1": 2.0, "2": 3.0, "3": 1.0})
    >>> found.n, found.difference, round(found.half, 6), round(found.p, 6)
    (3, 2.0, 2.484138, 0.07418)
    """
    common = sorted(set(row) & set(reference))
    gaps = [row[seed] - reference[seed] for seed in common]
    gap = summarise(gaps)
    if gap.n < 2:
        return Comparison(gap.n, gap.mean, None, None)
    if not any(gaps):
        return Comparison(gap.n, 0.0, 0.0, 1.0)
    if len(set(gaps)) == 1:  # equal to the last digit: t would be infinite, which means nothing
        return Comparison(gap.n, gap.mean, gap.half, None)
    return Comparison(gap.n, gap.mean, gap.half, float(stats.ttest_1samp(gaps, 0.0).pvalue))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979).

    >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(np.argsort(ps, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        corrected[index] = highest
    return corrected
