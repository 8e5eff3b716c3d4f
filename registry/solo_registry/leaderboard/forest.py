"""The forest plot: paired differences from the reference, with the margin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from solo_registry.leaderboard.looks import looks
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.plots.names import LABELS
from solo_registry.plots.style import BLACK, new_figure, save


def forest(table: Table, rows: Sequence[Row], out: Path) -> Path | None:
    """Draw each row's paired difference, the largest on top; None without a difference.

    A full mark has its corrected interval. An empty mark is an exploratory row with an uncorrected
    one. Raw pixels and the untrained backbone are lines where they are on the scale.
    """
    ordered = sorted(
        (row for row in rows if row.comparison and row.comparison.half is not None),
        key=lambda row: row.comparison.difference or 0.0,  # type: ignore[union-attr]
    )
    if not ordered:
        return None
    style = looks(row.name for row in table.rows)
    (axis,) = new_figure(1, 1, width=8.0, height=1.5 + 0.4 * len(ordered))
    ends = []
    for place, row in enumerate(ordered):
        test = row.comparison
        assert test is not None and test.difference is not None and test.half is not None
        colour, mark, _ = style[row.name]
        found = test.interval
        low, high = found or (test.difference - test.half, test.difference + test.half)
        axis.plot([low, high], [place, place], "-" if found else ":", color=colour, linewidth=2)
        axis.plot(test.difference, place, mark, color=colour, markersize=7,
                  markerfacecolor=colour if found else "white")  # fmt: skip
        ends += [low, high]
    if table.family and table.question is not None:
        margin = table.question.margin
        axis.axvspan(-margin, margin, color="#DDDDDD", alpha=0.5, zorder=0, linewidth=0)
        ends += [-margin, margin]
    axis.axvline(0.0, color=BLACK, linewidth=1)
    room = 0.05 * (max(ends) - min(ends))
    axis.set_xlim(min(ends) - room, max(ends) + room)
    axis.set_ylim(-0.6, len(ordered) - 0.4)
    axis.set_yticks(range(len(ordered)), [row.title for row in ordered])
    axis.set_xlabel(f"{LABELS[table.metric]}: difference from {table.reference}")
    _baselines(axis, table)
    return save(axis, out)


def _baselines(axis: Axes, table: Table) -> None:
    """Draw raw pixels and the untrained backbone, or say where they are off the scale."""
    base = next(row for row in table.rows if row.name == table.reference)
    level = base.summary(table.metric).mean
    low, high = axis.get_xlim()
    away = []
    for row, line in zip(table.baselines(), ("--", ":"), strict=False):
        mean = row.summary(table.metric).mean
        if mean is None or level is None:
            continue
        difference = mean - level
        if low < difference < high:
            axis.axvline(difference, color=BLACK, linestyle=line, linewidth=1.2, label=row.name)
        else:
            away.append(f"{row.name} {difference:+.2f}")
    if axis.get_legend_handles_labels()[1]:
        axis.legend(loc="lower right", fontsize=8, framealpha=0.9)
    if away:
        axis.set_title(f"off the scale: {', '.join(away)}", fontsize=8, loc="right", color=BLACK)
