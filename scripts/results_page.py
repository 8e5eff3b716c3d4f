"""Make the tables of docs/results.md and its CSV files from the packed boards beside them.

dyntemp leaderboard pack BOARD --out docs/results/NAME.tar.xz
python scripts/results_page.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from solo_registry.catalog.plugins import load_plugins
from solo_registry.leaderboard.archive import SUFFIX
from solo_registry.leaderboard.columns import corrected, interval, setting, verdict
from solo_registry.leaderboard.report import frame
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.leaderboard.tables import read_board
from solo_registry.leaderboard.variants import find_variants
from solo_registry.plots.names import number
from solo_registry.runs.read import csv_text

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
ARCHIVES = sorted((PAGE.parent / "results").glob(f"*{SUFFIX}"))
HEADS = ("strategy", "verdict", "kNN, %", "difference", "corrected interval", "p (Holm)",
         "selected", "linear probe, %", "uniformity", "tolerance")  # fmt: skip


def name_of(archive: Path) -> str:
    """Return the board's name."""
    return archive.name.removesuffix(SUFFIX)


def read(archive: Path) -> Table:
    """Return the table of a packed board."""
    load_plugins()
    with read_board(archive) as (_, table):
        return table


def cells(row: Row, table: Table) -> list[str]:
    """Return a line of the page's table."""
    test = row.comparison
    return [
        row.title,
        verdict(row, table),
        interval(row, "knn_acc1"),
        f"{test.difference:+.2f} ± {test.half:.2f}" if test else "-",
        corrected(row),
        "-" if test is None or test.holm is None else f"{test.holm:.2g}",
        setting(row),
        interval(row, "linear_acc1"),
        *(number(row.summary(metric).mean, metric) for metric in ("uniformity", "tolerance")),
    ]


def markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    escaped = [
        [cell.replace("|", r"\|") for cell in line] for line in (heads, ["-"] * len(heads), *lines)
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def shown(name: str, table: Table) -> dict[str, str]:
    """Return what the page shows of a board, by the mark that it stands after.

    A board of hosts with variants has a second table, after `<!-- NAME SUFFIX -->`.
    """
    made = {name: markdown(HEADS, (cells(row, table) for row in table.rows))}
    for found in find_variants(table):
        heads = ("host", f"HOST_{found.suffix} less HOST", "95% interval", "pairs")
        pairs = {**found.pairs, "mean of the hosts": found.over_hosts}
        lines = ([host, *found.cells(test)] for host, test in pairs.items())
        made[f"{name} {found.suffix}"] = markdown(heads, lines)
    return made


def page(text: str, tables: dict[str, Table]) -> str:
    """Return the page with each table after its mark, `<!-- NAME -->`, made anew.

    Raises:
        ValueError: the page has no mark for a board.
    """
    for name, table in tables.items():
        for mark, made in shown(name, table).items():
            mark = f"<!-- {mark} -->\n"
            found = re.search(re.escape(mark) + r"(\|.*\n)*", text)
            if found is None:
                raise ValueError(f"the page has no {mark.strip()}")
            text = text[: found.start()] + mark + made + text[found.end() :]
    return text


def main() -> None:
    """Write the page and the CSV files."""
    tables = {name_of(archive): read(archive) for archive in ARCHIVES}
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
    for name, table in tables.items():
        text = csv_text(frame(table))
        (PAGE.parent / "results" / f"{name}.csv").write_bytes(text.encode())


if __name__ == "__main__":
    main()
