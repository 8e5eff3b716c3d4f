"""Strategies over several boards: average ranks, and the probability of improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from solo_registry.leaderboard.statistics import LEVEL, Array

DRAWS = 2000


@dataclass(frozen=True)
class Ranks:
    """Average ranks over data sets (Demsar, JMLR 7, 2006).

    Attributes:
        average: rank of each strategy, 1 is the best; equal values share their ranks.
        friedman: p of Friedman's test that all strategies are equal; None below three strategies.
        critical: the difference of average ranks that Nemenyi's test finds at level 0.05.
    """

    average: Array
    friedman: float | None
    critical: float

    def groups(self) -> list[tuple[int, ...]]:
        """Return the largest groups whose average ranks the test does not tell apart.

        >>> Ranks(np.array([1.0, 1.8, 3.0]), None, 1.5).groups()
        [(0, 1), (1, 2)]
        """
        order = np.argsort(self.average, kind="stable").tolist()
        found: list[tuple[int, ...]] = []
        for i, first in enumerate(order):
            limit = self.average[first] + self.critical
            group = tuple(each for each in order[i:] if self.average[each] <= limit)
            if len(group) > 1 and not (found and set(group) <= set(found[-1])):
                found.append(group)
        return found


def ranks(means: Array) -> Ranks:
    """Rank strategies on each data set and average the ranks.

    Args:
        means: (data sets, strategies), higher is better.
    """
    sets, count = means.shape
    average = stats.rankdata(-means, axis=1).mean(0)
    p = float(stats.friedmanchisquare(*means.T).pvalue) if count > 2 and sets > 1 else None
    quantile = float(stats.studentized_range.isf(1 - LEVEL, count, np.inf)) / np.sqrt(2)
    return Ranks(average, p, float(quantile * np.sqrt(count * (count + 1) / (6 * sets))))


def improvement(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], seed: int = 0
) -> tuple[float, float, float]:
    """Return the probability that a run of ours is better than one of theirs, with its interval.

    It is the mean over data sets of P(x > y) + P(x = y) / 2 (Agarwal et al., NeurIPS 2021). The
    interval has 95% and comes from a stratified bootstrap: runs are drawn anew within each data
    set and strategy. It holds for these data sets; it says nothing about others.

    Args:
        ours: values of the runs on each data set.
        theirs: the same of the other strategy.
        seed: of the bootstrap.

    >>> improvement([[2, 3], [1, 5]], [[0, 1], [1, 2]])[0]
    0.8125
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    value = 0.0
    for mine, other in zip(ours, theirs, strict=True):
        x, y = np.asarray(mine), np.asarray(other)
        better = (x[:, None] > y) + 0.5 * (x[:, None] == y)
        value += better.mean() / len(ours)
        rows = generator.integers(len(x), size=(DRAWS, len(x), 1))
        columns = generator.integers(len(y), size=(DRAWS, 1, len(y)))
        drawn += better[rows, columns].mean((1, 2)) / len(ours)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(value), float(low), float(high)
