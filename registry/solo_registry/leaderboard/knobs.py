"""The knobs of a strategy: values and bounds of each, and how a setting of them is spelled.

A knob is a key of a run's config, or the ratio of two:
`method_kwargs.tau_max/method_kwargs.tau_min` with the value 3 sets tau_max to three times tau_min.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from solo_registry.errors import UserError, nearest

RATIO = re.compile(r"([\w.]+)/([\w.]+)")
Setting = dict[str, Any]
"""A value of each knob."""
Point = tuple[str, ...]
"""A setting as arguments of a run."""


def settings(grid: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Return every combination of the knobs' values.

    >>> settings({"a": [1, 2], "b": [3]})
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 3}]
    """
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def spelled(setting: Setting) -> Point:
    """Write a setting as arguments; a ratio as the key that it decides.

    >>> spelled({"low": 0.03, "high/low": 1.5, "name": "x"})
    ('low=0.03', 'high=0.045', 'name=x')
    """
    return tuple(f"{key_of_knob(knob)}={_value(knob, setting)}" for knob in setting)


def key_of_knob(knob: str) -> str:
    """Return the key that a knob sets.

    >>> key_of_knob("high/low"), key_of_knob("low")
    ('high', 'low')
    """
    ratio = RATIO.fullmatch(knob)
    return ratio[1] if ratio else knob


def base_of(knob: str) -> str:
    """Return the key that a ratio multiplies; "" for any other knob.

    >>> base_of("high/low"), base_of("low")
    ('low', '')
    """
    ratio = RATIO.fullmatch(knob)
    return ratio[2] if ratio else ""


def _value(knob: str, setting: Setting) -> Any:
    base = base_of(knob)
    return f"{setting[knob] * setting[base]:.6g}" if base else setting[knob]


def bounds_of(
    knob: str, grid: Mapping[str, Sequence[Any]], bounds: Mapping[str, Sequence[Any]]
) -> tuple[float, float] | None:
    """Return how low and high a knob may go; None if it takes no positive real numbers.

    Without bounds of its own these are the ends of its grid. Whole numbers count as choices: write
    2.0 for a real number.
    """
    values = [value for value in grid[knob] if isinstance(value, int | float)]
    real = any(isinstance(value, float) for value in values) and min(values) > 0
    if len(set(values)) < 2 or len(values) < len(grid[knob]) or not real:
        return None
    low, high = bounds.get(knob, (min(values), max(values)))
    return float(low), float(high)


def corners(
    grid: Mapping[str, Sequence[Any]], bounds: Mapping[str, Sequence[Any]]
) -> Iterator[Setting]:
    """Yield the outermost settings that an extension of the grid can reach."""
    ends = {
        knob: bounds_of(knob, grid, bounds) or tuple(dict.fromkeys((values[0], values[-1])))
        for knob, values in grid.items()
    }
    yield from settings(ends)


def check_knobs(
    where: str, grid: Mapping[str, Sequence[Any]], bounds: Mapping[str, Sequence[Any]]
) -> None:
    """Refuse a grid that cannot be spelled, and bounds that do not hold its values.

    Raises:
        UserError: naming `where`, the knob and what is allowed.
    """
    for knob, values in grid.items():
        base = base_of(knob)
        if not values:
            raise UserError(f"{where}: {knob} has no value in its grid")
        if not base:
            continue
        if base not in grid:
            raise UserError(
                f"{where}: '{knob}' is a ratio, but '{base}' is no knob of this grid."
                f"{nearest(base, grid)}"
            )
        if not all(isinstance(value, int | float) for value in (*values, *grid[base])):
            raise UserError(f"{where}: a ratio such as '{knob}' takes numbers, got {list(values)}")
    for knob, ends in bounds.items():
        if knob not in grid:
            raise UserError(f"{where}: bounds of '{knob}', which has no grid.{nearest(knob, grid)}")
        known = bounds_of(knob, grid, {})
        if known is None:
            raise UserError(
                f"{where}: bounds of '{knob}', which needs two or more positive real numbers, got "
                f"{list(grid[knob])}; write 2.0 and not 2"
            )
        numbers = len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
        if not numbers or not 0 < ends[0] <= known[0] or not known[1] <= ends[1]:
            raise UserError(
                f"{where}: bounds of '{knob}' must be [low, high] with 0 < low <= {known[0]:g} and "
                f"high >= {known[1]:g}, got {list(ends)}"
            )
