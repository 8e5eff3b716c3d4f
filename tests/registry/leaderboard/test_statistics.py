from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from solo_registry.leaderboard.statistics import compare, holm, summarise

PS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)


@given(PS)
def test_holm_is_the_closed_test_of_bonferroni(ps: list[float]) -> None:
    # the definition: p_i is the largest min(1, m min p) over all sets of hypotheses that hold i
    def closed(i: int) -> float:
        others = [j for j in range(len(ps)) if j != i]
        sets = [(i, *more) for r in range(len(ps)) for more in itertools.combinations(others, r)]
        return max(min(1.0, len(part) * min(ps[j] for j in part)) for part in sets)

    assert holm(ps) == pytest.approx([closed(i) for i in range(len(ps))])


def test_the_interval_holds_the_mean_in_95_of_100_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    found = [summarise(list(row)) for row in draws]
    covered = np.mean([abs(s.mean or 0) <= (s.half or 0) for s in found])
    assert covered == pytest.approx(0.95, abs=0.012)


def test_the_test_is_scipys_paired_one_over_common_seeds() -> None:
    row = {"1": 3.0, "2": 5.5, "3": 4.0, "9": 100.0}
    reference = {"1": 2.0, "2": 3.0, "3": 1.0, "8": -100.0}
    found = compare(row, reference)
    expected = stats.ttest_rel([3.0, 5.5, 4.0], [2.0, 3.0, 1.0])
    assert found.n == 3 and found.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert found.half == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [({"1": 1.0}, "no test"), ({}, "no test"), ({"1": 2.0, "2": 3.0}, "no test")],
)
def test_without_variation_or_a_second_seed_there_is_no_test(
    row: dict[str, float], verdict: str
) -> None:
    assert compare(row, {"1": 1.0, "2": 2.0}).verdict == verdict


def test_equal_rows_tie() -> None:
    assert compare({"1": 1.0, "2": 2.0}, {"1": 1.0, "2": 2.0}).p == 1.0
