"""Checks that the strategies of a suite reach the same temperatures, before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from solo_registry.errors import UserError
from solo_registry.leaderboard.knobs import Point, corners, spelled
from solo_registry.leaderboard.plan import Planner
from solo_registry.leaderboard.suite import StrategyConfig

SLACK = 1e-6  # relative; temperatures are computed in float32


def check_ranges(planner: Planner, name: str) -> None:
    """Refuse a suite whose reference reaches lower or higher temperatures than a contender.

    A comparison is unfair where the best temperature is in the grid of the reference alone. The
    range of a strategy goes from the lowest to the highest temperature of all its points, as its
    method states them (`BaseMethod.temperature_range`). What an extension of the grid can reach is
    compared in the same way. Methods without a temperature are not compared.

    Args:
        planner: of the suite.
        name: the suite's name.

    Raises:
        UserError: naming the strategy, both ranges and the cure.
    """
    suite = planner.suite
    if not suite.same_range or suite.tuning.points == 1:
        return

    def of_grid(strategy: StrategyConfig) -> list[Point]:
        return strategy.points()

    def of_extension(strategy: StrategyConfig) -> list[Point]:
        return [spelled(corner) for corner in corners(strategy.grid, strategy.bounds)]

    stages = {"the grid": of_grid} | ({"the bounds": of_extension} if suite.tuning.extra else {})
    for where, points in stages.items():
        spans = {
            row: _span(planner, row, points(strategy)) for row, strategy in suite.strategies.items()
        }
        ours = spans[suite.reference]
        for row, span in spans.items():
            if ours is None or span is None:
                continue
            if side := narrower(span, ours):
                theirs = f"from {ours[0]:.4g} to {ours[1]:.4g}"
                raise UserError(
                    f"suite '{name}': with {where}, '{row}' reaches temperatures from "
                    f"{span[0]:.4g} to {span[1]:.4g}, the reference '{suite.reference}' {theirs}: "
                    f"give '{row}' {side} values, or "
                    "compare unequal ranges on purpose by suite.same_range=false"
                )


def narrower(span: tuple[float, float], reference: tuple[float, float]) -> str:
    """Say on which side a range reaches less far than the reference's: "lower", "higher" or "".

    >>> narrower((0.1, 0.5), (0.03, 1.0)), narrower((0.03, 0.5), (0.05, 0.5))
    ('lower', '')
    """
    if span[0] > reference[0] * (1 + SLACK):
        return "lower"
    return "higher" if span[1] < reference[1] * (1 - SLACK) else ""


def _span(planner: Planner, row: str, points: Iterable[Point]) -> tuple[float, float] | None:
    """Return the lowest and the highest temperature of some points; None if there are none."""
    found = [span for point in points if (span := planner.temperatures(row, point))]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None
