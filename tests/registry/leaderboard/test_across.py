"""Several boards: ranks, critical differences, probability of improvement."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy
from packaging.version import Version
from scipy import stats
from tests.registry.leaderboard.conftest import change

from solo_registry.errors import UserError
from solo_registry.leaderboard.across import Ranks, improvement, ranks
from solo_registry.leaderboard.summary import latex, summarise_boards

ARCHIVES = Path(__file__).parents[3] / "docs" / "results"
# Demsar 2006, table 5a: q at 0.05 of Nemenyi's test, by the number of classifiers
NEMENYI = {
    2: 1.960,
    3: 2.343,
    4: 2.569,
    5: 2.728,
    6: 2.850,
    7: 2.949,
    8: 3.031,
    9: 3.102,
    10: 3.164,
}


@pytest.mark.parametrize(("count", "q"), NEMENYI.items())
def test_the_critical_difference_is_that_of_demsars_table(count: int, q: float) -> None:
    means = np.random.default_rng(count).normal(size=(14, count))
    found = ranks(means)
    assert found.critical == pytest.approx(q * np.sqrt(count * (count + 1) / (6 * 14)), abs=1e-3)
    assert found.average.sum() == pytest.approx(count * (count + 1) / 2)


def test_ranks_share_what_is_equal_and_friedman_is_scipys() -> None:
    means = np.array([[3.0, 2.0, 2.0], [5.0, 6.0, 4.0], [9.0, 7.0, 1.0]])
    found = ranks(means)
    assert found.average.tolist() == pytest.approx([4 / 3, (2.5 + 1 + 2) / 3, (2.5 + 3 + 3) / 3])
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*means.T).pvalue)


def test_groups_are_the_largest_that_are_not_told_apart() -> None:
    found = Ranks(np.array([4.0, 1.0, 2.0, 2.5, 6.0]), None, 1.5)
    assert found.groups() == [(1, 2, 3), (3, 0)]


def test_improvement_is_the_mean_of_mann_whitneys_u() -> None:
    generator = np.random.default_rng(0)
    ours = [generator.integers(0, 6, 5).tolist() for _ in range(3)]
    theirs = [generator.integers(0, 6, 7).tolist() for _ in range(3)]
    value, low, high = improvement(ours, theirs)
    known = [stats.mannwhitneyu(x, y).statistic / 35 for x, y in zip(ours, theirs, strict=True)]
    assert value == pytest.approx(np.mean(known)) and low <= value <= high


def test_the_interval_of_one_data_set_is_scipys_bootstrap() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(0.5, 1, 12), generator.normal(0, 1, 15)

    def chance(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return (x[..., :, None] > y[..., None, :]).mean((-1, -2))

    is_new = Version(scipy.__version__) >= Version("1.15")
    name = "rng" if is_new else "random_state"
    draws: dict[str, Any] = {name: np.random.default_rng(2)}
    known = stats.bootstrap((x, y), chance, vectorized=True, method="percentile",
                            **draws).confidence_interval  # fmt: skip
    assert improvement([x.tolist()], [y.tolist()])[1:] == pytest.approx(tuple(known), abs=0.02)


@pytest.mark.slow
def test_the_summary_of_two_boards(board: Path, tmp_path: Path) -> None:
    other = board.with_name("other")
    shutil.copytree(board, other)
    facts, table = summarise_boards([board, other], tmp_path / "out")
    assert table.strategy.tolist() == ["cosine", "fixed", "twin"]
    assert table.average_rank.tolist() == [1, 2, 3]
    assert table.improvement[0] == pytest.approx(8.5 / 9) and "over 2 boards" in facts[0]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"summary.csv", "summary.tex", "ranks.png"}
    with pytest.raises(UserError, match="unlike values of reference: cosine, fixed"):
        suite = json.loads((other / "board.json").read_text())["suite"]
        change(other / "board.json", suite=suite | {"reference": "cosine"})
        summarise_boards([board, other], tmp_path / "out")


@pytest.mark.nightly
def test_the_summary_of_published_boards(tmp_path: Path) -> None:
    names = ("temperature-fashion_mnist", "temperature-digits", "temperature-fashion_mnist_lt")
    facts, table = summarise_boards([ARCHIVES / f"{name}.tar.xz" for name in names], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"summary.csv", "summary.tex", "ranks.png"}
    read = pd.read_csv(tmp_path / "summary.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert len(table) == 15 and table.average_rank.is_monotonic_increasing
    published = pd.read_csv(ARCHIVES / "temperature-digits.csv").set_index("strategy").knn_acc1_mean
    ours = table.set_index("strategy")["mean_temperature-digits"]
    assert ours[published.index].tolist() == pytest.approx(published.tolist())
    assert "over 3 boards" in facts[0]


def test_a_summary_needs_two_boards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two boards or more, got 1"):
        summarise_boards([tmp_path], tmp_path)


def test_a_name_is_text_in_latex() -> None:
    assert r"50\% \& x\_y" in latex(pd.DataFrame({"a": ["50% & x_y"]}))
