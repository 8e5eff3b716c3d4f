"""What a paired test can see: its power, and the smallest difference that it detects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from solo_registry.leaderboard.question import QuestionConfig
from solo_registry.leaderboard.statistics import Comparison

AIM = 0.8  # the usual power of a planned experiment
GRID = 2001


def power(difference: float, spread: float, n: int, level: float) -> float:
    """Return the chance that a two-sided paired t test finds a true difference.

    Args:
        difference: the true mean of the pairs' differences.
        spread: their standard deviation.
        n: number of pairs, at least 2.
        level: level of the test; alpha / m for the first of m tests by Holm's procedure.

    >>> round(power(1.0, 1.0, 10, 0.05), 3)  # Cohen 1988: about 0.80
    0.803
    """
    shift, critical = abs(difference) * math.sqrt(n) / spread, stats.t.isf(level / 2, n - 1)
    test = stats.nct(n - 1, shift)
    other_side = np.nan_to_num(test.cdf(-critical))  # scipy's is NaN where it is practically 0
    return float(test.sf(critical) + other_side)


def detectable(spread: float, n: int, level: float, aim: float = AIM) -> float:
    """Return the true difference that `power` finds with probability `aim`.

    >>> round(detectable(1.0, 10, 0.05), 3)
    0.996
    """

    def lacking(difference: float) -> float:
        return power(difference, spread, n, level) - aim

    high = spread
    while lacking(high) < 0:
        high *= 2
    return float(optimize.brentq(lacking, 0.0, high))


def equivalence_power(margin: float, spread: float, n: int, level: float) -> float:
    """Return the chance that equal rows are called equivalent.

    It is the chance that the t interval of `level` is within the margin if the true difference is
    0: the mean over the distribution of the sample deviation (chi), by quantiles of equal weight.

    >>> round(equivalence_power(1.0, 1.0, 10, 0.05), 2)
    0.61
    """
    quantiles = (np.arange(GRID) + 0.5) / GRID
    deviation = np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))
    room = margin * math.sqrt(n) / spread - stats.t.isf(level / 2, n - 1) * deviation
    return float(np.mean(np.maximum(0.0, 2 * stats.norm.cdf(room) - 1)))


def sensitivity(tests: Sequence[Comparison | None], question: QuestionConfig) -> str:
    """Say what the tests of a family could see, from the spread that they measured.

    The level is that of the first of Holm's tests, alpha / m; later ones see a little more.

    Args:
        tests: the family.
        question: the margin and alpha.
    """
    made = [test for test in tests if test is not None and test.p is not None]
    if not made:
        return "Nothing was tested, so no smallest detectable difference is known."
    spread = math.sqrt(np.mean([test.std**2 for test in made if test.std is not None]))
    n = min(test.n for test in made)
    level, margin = question.alpha / len(tests), question.margin
    return (
        f"Smallest detectable difference: {detectable(spread, n, level):.2f} points with "
        f"{AIM:.0%} power (spread of the paired differences {spread:.2f}, n {n}, {len(tests)} "
        f"contrasts). A true difference of the margin, {margin:g}, is found with "
        f"{power(margin, spread, n, level):.0%}; equal rows are called equivalent with "
        f"{equivalence_power(margin, spread, n, level):.0%}."
    )
