"""Tuning runs as grids over two values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solo_registry.leaderboard.rows import Table


@dataclass(frozen=True)
class Grid:
    """Means of the metric over two tuned keys.

    Attributes:
        name: the strategy.
        metric: the metric of the values.
        keys: last parts of the keys of rows and columns.
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
            value = record.value(table.metric)
            pairs = [word.rpartition("=")[::2] for word in job.point]
            if job.strategy == row.name and value is not None and len(pairs) == 2:
                keys = [key.rpartition(".")[2] for key, _ in pairs]
                try:
                    cells.setdefault((float(pairs[0][1]), float(pairs[1][1])), []).append(value)
                except ValueError:  # the tuned value is a name, not a number
                    break
        first, second = (sorted({point[i] for point in cells}) for i in (0, 1))
        if len(first) < 2 or len(second) < 2:
            continue
        values = np.full((len(first), len(second)), np.nan)
        for (x, y), found in cells.items():
            values[first.index(x), second.index(y)] = fmean(found)
        yield Grid(row.name, table.metric, (keys[0], keys[1]), first, second, values,
                   _place(table.selected.get(row.name, {}), first, second))  # fmt: skip


def _place(
    entry: dict[str, Any], first: list[float], second: list[float]
) -> tuple[int, int] | None:
    point = entry.get("point")
    if not point:
        return None
    x, y = (float(word.rpartition("=")[2]) for word in point)
    return (first.index(x), second.index(y)) if x in first and y in second else None
