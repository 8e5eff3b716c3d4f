"""Tests of a family: Holm's correction, intervals that agree with verdicts, power.

Oracles: definitions, scipy's own tests, simulation, and numbers of statsmodels 0.15.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from solo_registry.leaderboard.power import detectable, equivalence_power, power
from solo_registry.leaderboard.statistics import (
    Comparison,
    compare,
    decide,
    half_width,
    holm,
    summarise,
    verdicts,
)

PS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)
GAPS = st.lists(st.lists(st.floats(-3, 3), min_size=4, max_size=4), min_size=1, max_size=5)


def seeds(values: Any) -> dict[str, float]:
    return {str(i): float(value) for i, value in enumerate(values)}


def family(gaps: Any, margin: float = 0.5, alpha: float = 0.05) -> list[Comparison]:
    """Return the decided tests of some rows, each given by its differences from the reference."""
    tests = [compare(seeds(row), seeds(np.zeros(len(row)))) for row in gaps]
    return decide(tests, alpha, margin)


@given(PS)
def test_holm_is_the_closed_test_of_bonferroni(ps: list[float]) -> None:
    # the definition: p_i is the largest min(1, m min p) over all sets of hypotheses that hold i
    def closed(i: int) -> float:
        others = [j for j in range(len(ps)) if j != i]
        sets = [(i, *more) for r in range(len(ps)) for more in itertools.combinations(others, r)]
        return max(min(1.0, len(part) * min(ps[j] for j in part)) for part in sets)

    found = decide([Comparison(3, 1.0, 1.0, 1.0, p) for p in ps], 0.05, 0.5)
    assert [test.holm for test in found] == pytest.approx([closed(i) for i in range(len(ps))])


@given(GAPS)
def test_the_interval_excludes_0_exactly_where_holms_p_is_below_alpha(gaps: Any) -> None:
    for test in family(gaps):
        if test.p is None or test.holm is None or abs(test.holm - 0.05) < 1e-9:
            continue
        low, high = test.interval or (0.0, 0.0)
        assert (low > 0 or high < 0) == (test.holm < 0.05) == (test.verdict in ("win", "loss"))
        assert (test.verdict == "equivalent") <= (-0.5 < low <= 0 <= high < 0.5)


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
    (alone,) = decide([found], 0.05, 0.5)
    assert alone.interval == pytest.approx((low, high)) and alone.holm == alone.p


def test_equivalent_is_scipys_two_one_sided_tests_at_half_the_level() -> None:
    draws = np.random.default_rng(1).normal(0.05, 0.2, size=(200, 6))
    verdicts = [family([gaps])[0].verdict for gaps in draws]
    for gaps, verdict in zip(draws, verdicts, strict=True):
        below = stats.ttest_1samp(gaps, 0.5, alternative="less").pvalue
        above = stats.ttest_1samp(gaps, -0.5, alternative="greater").pvalue
        within = max(below, above) < 0.025
        assert within or verdict != "equivalent"
        assert verdict != "inconclusive" or not within
    assert len(set(verdicts)) > 2


@pytest.mark.parametrize(
    ("row", "verdict"),
    [({"1": 1.0}, "no test"), ({}, "no test"), ({"1": 2.0, "2": 3.0}, "no test")],
)
def test_without_variation_or_a_second_seed_there_is_no_test(
    row: dict[str, float], verdict: str
) -> None:
    assert compare(row, {"1": 1.0, "2": 2.0}).verdict == verdict


def test_a_row_without_a_test_counts_in_the_family() -> None:
    alone, failed = decide([compare(seeds([1, 2, 3]), seeds([0, 0, 0])), compare({}, {})], 0.05, 1)
    assert alone.p and alone.holm == pytest.approx(2 * alone.p) and failed.verdict == "no test"


def test_seeds_of_one_tuning_are_one_pair() -> None:
    row, tunings = seeds([1, 2, 4, 4]), {"0": 0, "1": 1, "2": 0, "3": 1}
    found = compare(row, seeds([0, 0, 0, 0]), tunings)
    expected = stats.ttest_1samp([2.5, 3.0], 0)
    assert found.n == 2 and found.p == pytest.approx(expected.pvalue)


# true differences of a family's rows, in standard deviations of a pair
BOARDS = {
    "all equal": np.zeros(8),
    "half differ": np.array([0.0, 0, 0, 0, 6, 6, 6, -6]),
    "all but one differ": np.array([0.0, 6, 6, 6, 6, 6, 6, -6]),
    "on the margin": np.full(8, 1.2),
    "on it and equal": np.array([0, 0, 0, 0, 1.2, 1.2, -1.2, -1.2]),
}


@pytest.mark.parametrize("board", BOARDS)
def test_false_verdicts_are_at_most_5_of_100_and_intervals_cover_95(board: str) -> None:
    """Rows share the noise of their reference, as on a board; 12 seeds, 8 rows, margin 1.2."""
    truth, generator = BOARDS[board], np.random.default_rng(7)
    own, common = generator.normal(size=(4000, 8, 12)), generator.normal(size=(4000, 1, 12))
    gaps = truth[:, None] + (own - common) / np.sqrt(2)
    mean, std = gaps.mean(-1), gaps.std(-1, ddof=1)
    levels = holm(stats.ttest_1samp(gaps, 0.0, axis=-1).pvalue, 0.05)[1]
    half = half_width(std, 12, levels)
    found = verdicts(mean - half, mean + half, 1.2)
    false = ((found == "win") & (truth <= 0)) | ((found == "loss") & (truth >= 0))
    false |= (found == "equivalent") & (abs(truth) >= 1.2)
    assert false.any(-1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)
    assert (abs(mean - truth) <= half).mean(0).min() > 0.945  # each row by itself
    for i in range(3):  # the same for one board at a time
        assert [test.verdict for test in family(gaps[i], 1.2)] == found[i].tolist()


# TTestPower().solve_power of statsmodels 0.15: (spread, n, level, aim) -> difference
@pytest.mark.parametrize(
    ("case", "known"),
    [
        ((1.0, 10, 0.05, 0.8), 0.996),
        ((0.25, 20, 0.05, 0.8), 0.16511),
    ],
)
def test_the_detectable_difference_is_statsmodels(case: Any, known: float) -> None:
    spread, n, level, aim = case
    found = detectable(spread, n, level, aim)
    assert found == pytest.approx(known, abs=1e-4)
    assert power(found, spread, n, level) == pytest.approx(aim)


def test_what_is_detectable_is_found_in_simulated_tests() -> None:
    """Where statsmodels is wrong, because scipy's noncentral t is NaN far out."""
    level = 0.05 / 14
    gaps = np.random.default_rng(4).normal(detectable(0.3, 5, level), 0.3, size=(40_000, 5))
    found = stats.ttest_1samp(gaps, 0.0, axis=1).pvalue < level
    assert found.mean() == pytest.approx(0.8, abs=0.008)


def test_power_is_that_of_simulated_tests() -> None:
    draws = np.random.default_rng(2).normal(0.4, 0.3, size=(20_000, 5))
    found = stats.ttest_1samp(draws, 0.0, axis=1).pvalue
    assert power(0.4, 0.3, 5, 0.05 / 3) == pytest.approx(np.mean(found < 0.05 / 3), abs=0.01)
    assert power(0.0, 0.3, 5, 0.01) == pytest.approx(0.01)


def test_equivalence_power_is_that_of_simulated_tests() -> None:
    draws = np.random.default_rng(3).normal(0.0, 0.3, size=(20_000, 6))
    half = stats.t.isf(0.025, 5) * draws.std(1, ddof=1) / np.sqrt(6)
    within = np.mean(abs(draws.mean(1)) + half < 0.4)
    assert equivalence_power(0.4, 0.3, 6, 0.05) == pytest.approx(within, abs=0.01)
