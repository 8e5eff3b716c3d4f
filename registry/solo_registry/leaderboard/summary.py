"""`dyntemp leaderboard summary`: the same strategies on several boards, as tables and a diagram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from solo_registry.catalog.plugins import load_plugins
from solo_registry.errors import UserError
from solo_registry.leaderboard.across import Ranks, improvement, ranks
from solo_registry.leaderboard.archive import SUFFIX
from solo_registry.leaderboard.looks import looks
from solo_registry.leaderboard.rows import Table
from solo_registry.leaderboard.tables import read_board
from solo_registry.plots.style import BLACK, new_figure, save
from solo_registry.runs.read import csv_text
from solo_registry.runs.run_folder import write_text


def summarise_boards(
    paths: Sequence[Path], out: Path, metric: str | None = None
) -> tuple[list[str], pd.DataFrame]:
    """Write summary.csv, summary.tex and ranks.png for the strategies that all boards have.

    Args:
        paths: boards or archives, one a data set.
        out: folder to write to.
        metric: the number that is compared; that of the suites if None.

    Returns:
        What the numbers mean, and a row per strategy.

    Raises:
        UserError: fewer than two boards or common strategies, or unlike metrics or references.
    """
    load_plugins()
    if len(paths) < 2:
        raise UserError(f"a summary needs two boards or more, got {len(paths)}")
    tables = {}
    for path in paths:
        with read_board(path, metric) as (_, table):
            tables[path.name.removesuffix(SUFFIX)] = table
    if len(tables) < len(paths):
        raise UserError("two boards have one name; each data set counts once")
    for what in ("metric", "reference"):
        found = sorted({str(getattr(table, what)) for table in tables.values()})
        if len(found) > 1:
            raise UserError(f"the boards have unlike values of {what}: {', '.join(found)}")
    values = {name: _values(table) for name, table in tables.items()}
    names = [
        name for name in next(iter(values.values())) if all(name in v for v in values.values())
    ]
    if len(names) < 2:
        raise UserError(f"the boards have {len(names)} strategies with numbers in common, not two")
    means = np.array([[np.mean(board[name]) for name in names] for board in values.values()])
    ranked = ranks(means)
    reference = str(next(iter(tables.values())).reference)
    rows = []
    for place in np.argsort(ranked.average, kind="stable").tolist():
        name = names[place]
        row: dict[str, object] = {"strategy": name, "average_rank": ranked.average[place]}
        row |= {f"mean_{board}": mean for board, mean in zip(values, means[:, place], strict=True)}
        if name != reference and reference in names:
            ours, theirs = (
                [board[each] for board in values.values()] for each in (name, reference)
            )
            value, low, high = improvement(ours, theirs)
            row |= {"improvement": value, "improvement_low": low, "improvement_high": high}
        rows.append(row)
    frame = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        "summary.csv": csv_text(frame),
        "summary.tex": latex(frame.round(3).astype(object).fillna("-")),
    }
    for file, text in texts.items():
        write_text(out / file, text)
    draw_ranks(names, ranked, out / "ranks.png")
    return _facts(ranked, len(tables), reference), frame


def latex(frame: pd.DataFrame) -> str:
    r"""Return a table in LaTeX, its texts escaped.

    >>> r"a\_b \& 1" in latex(pd.DataFrame({"a_b": ["x & y"]})) or "x \\& y"
    'x \\& y'
    """
    return frame.to_latex(index=False, escape=True)


def _values(table: Table) -> dict[str, list[float]]:
    """Return the values of each strategy that has some; rows of several names have each."""
    return {
        name: list(values.values())
        for row in table.rows
        for name in (row.name, *row.same)
        if (values := row.values(table.metric))
    }


def _facts(ranked: Ranks, sets: int, reference: str) -> list[str]:
    friedman = "" if ranked.friedman is None else f"Friedman's test: p {ranked.friedman:.3g}. "
    return [
        f"{friedman}Average ranks over {sets} boards (1 is best); ranks that differ by less than "
        f"{ranked.critical:.2f} are not told apart (Nemenyi, 0.05).",
        f"Improvement: the probability that a run is better than one of '{reference}', with its "
        "95% interval (stratified bootstrap; for these data sets).",
    ]


def draw_ranks(names: Sequence[str], ranked: Ranks, out: Path) -> Path:
    """Draw the critical-difference diagram: bars join what the test does not tell apart."""
    order, groups = np.argsort(ranked.average, kind="stable").tolist(), ranked.groups()
    style = looks(names)
    (axis,) = new_figure(1, 1, width=8.0, height=1.6 + 0.3 * len(names) + 0.12 * len(groups))
    for place, each in enumerate(order):
        colour, mark, _ = style[names[each]]
        axis.plot(ranked.average[each], -place, mark, color=colour, markersize=8)
    for i, group in enumerate(groups):
        ends = [ranked.average[group[0]], ranked.average[group[-1]]]
        axis.plot(ends, [0.8 + 0.35 * i] * 2, color=BLACK, linewidth=3, solid_capstyle="butt")
    axis.set_yticks([-place for place in range(len(order))], [names[each] for each in order])
    axis.set_xlabel(f"average rank, 1 is best (critical difference {ranked.critical:.2f})")
    return save(axis, out)
