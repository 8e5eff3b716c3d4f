"""The extension of a grid: as many points for everyone, next to the best."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from solo_registry.errors import UserError
from solo_registry.leaderboard.extension import extension, on_border
from solo_registry.leaderboard.knobs import settings, spelled
from solo_registry.leaderboard.suite import StrategyConfig, read_suite

ONE = StrategyConfig(grid={"tau": [0.05, 0.1, 0.2]}, bounds={"tau": [0.02, 0.3]})
RATIO = "high/low"
TWO = StrategyConfig(
    grid={"low": [0.03, 0.05, 0.1], RATIO: [1.5, 3.0]},
    bounds={"low": [0.02, 0.2], RATIO: [1.2, 4.0]},
)


def peaked(strategy: StrategyConfig, **best: float) -> list[tuple[dict[str, Any], float | None]]:
    """Means of a grid that fall with the distance from a peak, in logarithms."""
    return [
        (setting, -sum(abs(math.log(setting[knob] / at)) for knob, at in best.items()))
        for setting in settings(strategy.grid)
    ]


def test_beyond_a_border_by_the_ratio_of_the_grid_and_up_to_the_bound() -> None:
    assert extension(ONE, peaked(ONE, tau=0.01), 1) == [{"tau": 0.025}]
    assert extension(ONE, peaked(ONE, tau=1.0), 2) == [{"tau": 0.3}, {"tau": 0.141}]


def test_inside_the_gap_towards_the_better_neighbour_comes_first() -> None:
    assert extension(ONE, peaked(ONE, tau=0.09), 2) == [{"tau": 0.0707}, {"tau": 0.141}]
    assert extension(ONE, peaked(ONE, tau=0.11), 1) == [{"tau": 0.141}]


def test_a_knob_at_its_border_comes_before_one_inside() -> None:
    means = peaked(TWO, **{"low": 0.05, RATIO: 5.0})
    first, second, third = extension(TWO, means, 3)
    assert first == {"low": 0.05, RATIO: 4.0}
    assert second == {"low": 0.0387, RATIO: 3.0} and third == {"low": 0.05, RATIO: 2.12}
    assert spelled(first) == ("low=0.05", "high=0.2")


@pytest.mark.parametrize("strategy", [ONE, TWO, StrategyConfig(grid={"x": [1.0, 2.0]})])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_strategy_gets_as_many_new_points_within_its_bounds(
    strategy: StrategyConfig, count: int
) -> None:
    grid = settings(strategy.grid)
    for best in grid:
        added = extension(strategy, [(setting, float(setting == best)) for setting in grid], count)
        assert len(added) == count
        assert all(one != other for one, other in itertools.combinations([*grid, *added], 2))
        for setting, (knob, values) in itertools.product(added, strategy.grid.items()):
            low, high = strategy.bounds.get(knob, (min(values), max(values)))
            assert low <= setting[knob] <= high


def test_a_grid_without_a_value_is_not_extended() -> None:
    assert extension(ONE, [(setting, None) for setting in settings(ONE.grid)], 2) == []


def test_a_border_is_named() -> None:
    tried = [{"tau": 0.02}, *settings(ONE.grid)]
    assert on_border(ONE, tried, {"tau": 0.1}) == []
    assert on_border(ONE, tried, {"tau": 0.2}) == ["tau=0.2 is the highest value that was tried"]
    (line,) = on_border(ONE, tried, {"tau": 0.02})
    assert line == "tau=0.02 is the lowest value that was tried, which is its bound"


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"grid": {"a/b": [2.0]}}, "'a/b' is a ratio, but 'b' is no knob of this grid"),
        ({"grid": {"b": ["x"], "a/b": [2.0]}}, "takes numbers"),
        ({"grid": {"a": []}}, "a has no value in its grid"),
        ({"bounds": {"a": [1, 2]}}, "bounds of 'a', which has no grid"),
        ({"grid": {"a": [1, 2]}, "bounds": {"a": [1, 3]}}, "write 2.0 and not 2"),
        ({"grid": {"a": [0.1, 0.2]}, "bounds": {"a": [0.15, 0.3]}}, r"0 < low <= 0.1 and high"),
        ({"grid": {"a": [0.1, 0.2]}, "bounds": {"a": ["x", 3]}}, "0 < low"),
        ({"grid": {"a": ["x"]}}, "no knob of positive real numbers.*suite.tuning.extra=0"),
    ],
)
def test_a_grid_that_cannot_be_used_is_refused(strategy: dict[str, Any], message: str) -> None:
    points = max(1, math.prod(len(values) for values in strategy.get("grid", {}).values()))
    node = {"reference": "one", "strategies": {"one": strategy},
            "tuning": {"points": points, "extra": 1}}  # fmt: skip
    with pytest.raises(UserError, match=message):
        read_suite("s", node, [], [])
