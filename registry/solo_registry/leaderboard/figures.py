"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from solo_registry.leaderboard.forest import forest
from solo_registry.leaderboard.grid import Grid, grids
from solo_registry.leaderboard.looks import looks
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.leaderboard.variants import draw_variants, find_variants
from solo_registry.plots.labels import spread
from solo_registry.plots.names import LABELS
from solo_registry.plots.style import BLACK, attempt, new_figure, save

CURVES = ("val_knn_acc1", "val_acc1")  # no loss: of different temperatures, none compares
CURVE_LABELS = {"val_knn_acc1": "online kNN, %", "val_acc1": "online linear probe, %"}


def draw_board(table: Table, folder: Path) -> dict[str, str]:
    """Write the pictures that the table has data for.

    Returns:
        File names and captions, in the order of reading.
    """
    shown = [row for row in table.rows if row.values(table.metric)]
    made = {}
    if shown and (drawn := attempt(accuracy, table, shown, folder / "accuracy.png")):
        made[drawn.name] = (
            f"{LABELS[table.metric]} of every strategy: mean and 95% interval; small dots are seeds"
        )
    if shown and (drawn := attempt(forest, table, shown, folder / "differences.png")):
        made[drawn.name] = (
            f"Paired differences from {table.reference} with corrected intervals; the grey band is "
            "the margin. Empty marks are exploratory, with uncorrected intervals"
        )
    for found in find_variants(table):
        name = f"hosts_{quote(found.suffix, safe='')}.png"
        if drawn := attempt(draw_variants, found, folder / name):
            made[drawn.name] = (
                f"HOST_{found.suffix} less HOST, paired by seed, with uncorrected 95% intervals; "
                "the last line is their mean"
            )
    both = any(row.values("uniformity") and row.values("tolerance") for row in shown)
    if both and (drawn := attempt(plane, table, shown, folder / "uniformity_tolerance.png")):
        made[drawn.name] = (
            "Uniformity and tolerance of the test features; up and to the left is better in both"
        )
    for grid in grids(table):
        if drawn := attempt(heat_map, grid, folder / f"grid_{quote(grid.name, safe='')}.png"):
            made[drawn.name] = (
                f"{grid.name}: mean {LABELS[table.metric]} on the validation split, by tuned values"
            )
    if drawn := attempt(trajectories, table, shown, folder / "trajectories.png"):
        made[drawn.name] = "Training, mean over seeds; bands are one standard deviation"
    return made


def accuracy(table: Table, rows: Sequence[Row], out: Path) -> Path:
    """Draw mean, interval and seeds of each row, the best on top; the reference is a line."""
    (axis,) = new_figure(1, 1, width=8.0, height=1.1 + 0.42 * len(rows))
    style = looks(row.name for row in table.rows)
    for place, row in enumerate(reversed(rows)):
        colour, mark, _ = style[row.name]
        values, summary = list(row.values(table.metric).values()), row.summary(table.metric)
        axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.35, markersize=4)
        axis.errorbar([summary.mean or 0.0], [place], xerr=[summary.half or 0.0], fmt=mark,
                      color=colour, capsize=4, markersize=7)  # fmt: skip
        if row.name == table.reference and summary.mean is not None:
            axis.axvline(summary.mean, color=colour, linestyle="--", linewidth=1, zorder=0)
    axis.set_yticks(range(len(rows)), [row.name for row in reversed(rows)])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel(LABELS[table.metric])
    return save(axis, out)


def plane(table: Table, rows: Sequence[Row], out: Path) -> Path:
    """Draw each row's mean in the plane of uniformity and tolerance; equal ones side by side."""
    (axis,) = new_figure(1, 1, width=8.0, height=4.4)
    known = [row for row in rows if row.values("uniformity") and row.values("tolerance")]
    style = looks(row.name for row in table.rows)
    means = np.zeros((len(known), 2))
    for place, row in enumerate(known):
        colour = style[row.name][0]
        x, y = row.summary("uniformity"), row.summary("tolerance")
        means[place] = x.mean or 0.0, y.mean or 0.0
        axis.errorbar(means[place, :1], means[place, 1:], xerr=[x.std or 0.0], yerr=[y.std or 0.0],
                      color=colour, fmt="none", elinewidth=1.2)  # fmt: skip
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    offsets = spread(axis.transData.transform(means), 8.0)
    for row, mean, offset in zip(known, means, offsets, strict=True):
        colour, mark, _ = style[row.name]
        moved = ScaledTranslation(offset[0] / 72, offset[1] / 72, figure.dpi_scale_trans)
        axis.plot(*mean, mark, color=colour, label=row.name, markersize=7, markeredgecolor="white",
                  transform=axis.transData + moved)  # fmt: skip
    axis.set_xlabel("uniformity (lower: more uniform)")
    axis.set_ylabel("tolerance (higher: classes closer)")
    _legend(axis)
    return save(axis, out)


def heat_map(grid: Grid, out: Path) -> Path:
    """Draw a grid of two tuned values."""
    (axis,) = new_figure(1, 1, width=5.2, height=4.0)
    axis.grid(False)
    image = axis.imshow(grid.values, origin="lower", cmap="viridis", aspect="auto")
    axis.set_xticks(range(len(grid.columns)), [f"{value:g}" for value in grid.columns])
    axis.set_yticks(range(len(grid.rows)), [f"{value:g}" for value in grid.rows])
    axis.set_xlabel(grid.keys[1])
    axis.set_ylabel(grid.keys[0])
    axis.set_title(grid.name)
    middle = (np.nanmin(grid.values) + np.nanmax(grid.values)) / 2
    for (i, j), value in np.ndenumerate(grid.values):
        text = "-" if np.isnan(value) else f"{value:.2f}"
        bold = (i, j) == grid.selected
        axis.text(j, i, f"[{text}]" if bold else text, ha="center", va="center",
                  color="white" if value <= middle else "black",
                  fontweight="bold" if bold else "normal")  # fmt: skip
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.colorbar(image, ax=axis, label=LABELS[grid.metric])
    return save(axis, out)


def trajectories(table: Table, rows: Sequence[Row], out: Path) -> Path | None:
    """Draw the columns of metrics.csv that all runs have against the epoch; None without any."""
    curves = {
        row.name: [run.curve for run in row.runs.values() if not run.curve.empty] for row in rows
    }
    columns = [
        name for name in CURVES
        if any(name in curve for found in curves.values() for curve in found)
    ]  # fmt: skip
    if not columns:
        return None
    style = looks(row.name for row in table.rows)
    axes = new_figure(1, len(columns), width=10.0, height=4.2)
    for axis, column in zip(axes, columns, strict=True):
        for name, tables in curves.items():
            mean, std = average(tables, column)
            if mean.empty:
                continue
            colour, _, line = style[name]
            axis.plot(mean.index + 1, mean, line, color=colour, label=name, linewidth=1.6)
            axis.fill_between(mean.index + 1, mean - std, mean + std, color=colour, alpha=0.12)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel(CURVE_LABELS[column])
    _legend(axes[-1])
    return save(axes[0], out)


def average(tables: Sequence[pd.DataFrame], column: str) -> tuple[pd.Series, pd.Series]:
    """Return mean and standard deviation over runs, for each epoch that measured the column.

    >>> tables = [{"epoch": [0, 1, 2], "val_acc1": [None, value, None]} for value in (1, 3)]
    >>> average([pd.DataFrame(table) for table in tables], "val_acc1")[0].to_dict()
    {1: 2.0}
    """
    found = [table.set_index("epoch")[column].dropna() for table in tables if column in table]
    joined = pd.concat(found, axis=1).sort_index() if found else pd.DataFrame()
    return joined.mean(axis=1), joined.std(axis=1).fillna(0.0)


def _legend(axis: Axes) -> None:
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8,
                labelcolor=BLACK)  # fmt: skip
