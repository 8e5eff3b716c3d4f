"""Tuning runs as grids over two values, or over one and the ratio of the two."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from solo_registry.leaderboard.rows import Table


@dataclass(frozen=True)
class Grid:
    """Means of the metric over two tuned keys.

    Attributes:
        name: the strategy.
        metric: the metric of the values.
        keys: last parts of the keys of rows and columns; "b/a" where columns are ratios.
        rows: values of the first key, ascending.
        columns: values of the second.
        values: (rows, columns), NaN where no run finished.
        selected: row and column of the selected point, or None.
    """

    name: str
    metric: str
    keys: tuple[str, str]
    rows: list[float]
    columns: list[float]
    values: NDArray[np.float64]
    selected: tuple[int, int] | None


def grids(table: Table) -> Iterator[Grid]:
    """Yield a grid for each strategy whose points vary two numeric keys, from its tuning runs."""
    for row in table.rows:
        cells: dict[tuple[float, float], list[float]] = {}
        keys: list[str] = []
        for job, record in table.tuning.items():
            value, place = record.value(table.metric), _place(job.point)
            if job.strategy == row.name and value is not None and place is not None:
                keys = [override.partition("=")[0].rpartition(".")[2] for override in job.point]
                cells.setdefault(place, []).append(value)
        ratio = {point: (point[0], _ratio(point)) for point in cells}
        if len(set(ratio.values())) == len(cells) and _filled(ratio.values()) > _filled(cells):
            cells = {ratio[point]: found for point, found in cells.items()}
            keys[1] = f"{keys[1]}/{keys[0]}"
        else:
            ratio = {point: point for point in cells}
        first, second = (sorted({point[i] for point in cells}) for i in (0, 1))
        if len(first) < 2 or len(second) < 2:
            continue
        values = np.full((len(first), len(second)), np.nan)
        for (x, y), found in cells.items():
            values[first.index(x), second.index(y)] = fmean(found)
        choice = table.selected.get(row.name)
        chosen = ratio.get(_place(choice.point or ()) or (0, 0)) if choice else None
        selected = (first.index(chosen[0]), second.index(chosen[1])) if chosen else None
        yield Grid(row.name, table.metric, (keys[0], keys[1]), first, second, values, selected)


def _ratio(point: tuple[float, float]) -> float:
    """Return the second value over the first, to three digits; infinite where the first is 0."""
    return float(f"{point[1] / point[0]:.3g}") if point[0] else math.inf


def _filled(points: Collection[tuple[float, float]]) -> float:
    """Return the share of a grid over these points' values that has a point."""
    rows, columns = ({point[i] for point in points} for i in (0, 1))
    return len(points) / max(1, len(rows) * len(columns))


def _place(point: Sequence[str]) -> tuple[float, float] | None:
    """Return the values of a point of two numbers; None if it is another."""
    try:
        x, y = (float(override.rpartition("=")[2]) for override in point)
    except ValueError:  # it has another number of values, or one is a name
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None
