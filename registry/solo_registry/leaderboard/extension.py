"""Extends the grid of a strategy once, next to its best point: the same number of points for all.

On the border of a grid the best point asks for values beyond it. Elsewhere the same budget goes
into the gap between the best point and its neighbours, so that every strategy tries as many points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from solo_registry.leaderboard.knobs import Setting, bounds_of
from solo_registry.leaderboard.suite import StrategyConfig

Means = Sequence[tuple[Setting, float | None]]
"""The settings of a grid with the mean of each."""


def extension(strategy: StrategyConfig, means: Means, count: int) -> list[Setting]:
    """Return `count` settings next to the best of the grid; none if no setting has a mean.

    One knob moves, the others stay at the best setting's values. The knobs take turns, those first
    whose best value lies on the border of the grid and can go further. A knob goes, in this order,

    - beyond the border, by the ratio of the two outermost values, but not beyond its bounds;
    - to the geometric mean of the best value and its neighbour, the better neighbour first;
    - to geometric means ever nearer to the best value.

    Args:
        strategy: its grid has at least one knob of positive real numbers.
        means: the settings of the grid with their means; of equal means the first is the best.
        count: number of settings.

    >>> one = StrategyConfig(grid={"tau": [0.1, 0.2]}, bounds={"tau": [0.06, 0.4]})
    >>> extension(one, [({"tau": 0.1}, 90.0), ({"tau": 0.2}, 80.0)], 2)
    [{'tau': 0.06}, {'tau': 0.141}]
    """
    found = [(setting, mean) for setting, mean in means if mean is not None]
    if not found:
        return []
    best = max(found, key=lambda each: each[1])[0]

    def mean_at(knob: str) -> Callable[[float], float]:
        def of(value: float) -> float:
            other = best | {knob: value}
            return next((mean for setting, mean in found if setting == other), -math.inf)

        return of

    ways = []
    for knob in strategy.grid:
        if ends := bounds_of(knob, strategy.grid, strategy.bounds):
            values = sorted({float(value) for value in strategy.grid[knob]})
            outward = beyond(values, float(best[knob]), ends)
            candidates = _candidates(values, float(best[knob]), outward, mean_at(knob))
            ways.append((outward is None, knob, candidates))
    ways.sort(key=lambda way: way[0])
    added: list[Setting] = []
    while ways and len(added) < count:
        for way in list(ways):
            value = next(way[2], None)
            if value is None:
                ways.remove(way)
            elif len(added) < count:
                added.append(best | {way[1]: value})
    return added


def beyond(values: Sequence[float], best: float, ends: tuple[float, float]) -> float | None:
    """Return the next value beyond a border; None if `best` is inside, or at its bound.

    >>> beyond([0.1, 0.2, 0.4], 0.4, (0.05, 1.0)), beyond([0.1, 0.2], 0.1, (0.1, 1.0))
    (0.8, None)
    """
    if best == values[0]:
        value = max(ends[0], _rounded(best * best / values[1]))
    elif best == values[-1]:
        value = min(ends[1], _rounded(best * best / values[-2]))
    else:
        return None
    return None if value == best else value


def _candidates(
    values: Sequence[float], best: float, outward: float | None, mean: Callable[[float], float]
) -> Iterator[float]:
    """Yield values of a knob to try, the most promising first."""
    place = values.index(best)
    near = [values[i] for i in (place - 1, place + 1) if 0 <= i < len(values)]
    near.sort(key=mean, reverse=True)  # of equal ones the lower comes first
    if outward is not None:
        yield outward
    while near:
        middle = [_rounded(math.sqrt(best * value)) for value in near]
        near = [new for new, old in zip(middle, near, strict=True) if new not in (best, old)]
        yield from near


def _rounded(value: float) -> float:
    """Round to three digits, as a person would write it."""
    return float(f"{value:.3g}")


def on_border(strategy: StrategyConfig, tried: Sequence[Setting], chosen: Setting) -> list[str]:
    """Say which values of a setting are the lowest or highest that were tried, a line each."""
    lines = []
    for knob in strategy.grid:
        ends = bounds_of(knob, strategy.grid, strategy.bounds)
        if ends is None:
            continue
        values = {float(setting[knob]) for setting in tried}
        sides = {"lowest": (min(values), ends[0]), "highest": (max(values), ends[1])}
        for side, (end, bound) in sides.items():
            if float(chosen[knob]) == end:
                at = ", which is its bound" if end == bound else ""
                lines.append(f"{knob}={chosen[knob]:g} is the {side} value that was tried{at}")
    return lines
