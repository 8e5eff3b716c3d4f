"""Writes the report: Markdown, CSV, one HTML page and pictures, a pure function of result files."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from solo_registry.errors import UserError, nearest
from solo_registry.leaderboard.archive import SUFFIX
from solo_registry.leaderboard.columns import columns, verdict
from solo_registry.leaderboard.looks import looks
from solo_registry.leaderboard.rows import Table
from solo_registry.leaderboard.summary import latex
from solo_registry.leaderboard.tables import folder_table, read_board
from solo_registry.leaderboard.variants import VARIANTS, find_variants
from solo_registry.paths import exists, is_dir, is_file
from solo_registry.plots.names import LABELS
from solo_registry.plots.pages import page
from solo_registry.runs.lock import held
from solo_registry.runs.read import csv_text
from solo_registry.runs.run_folder import write_text

HERE = "solo_registry.leaderboard"  # where the templates lie
HOW = (
    "Mean ± half the 95% t interval over n seeds; std is the sample standard deviation. "
    "Differences are paired with {reference}; p and interval are corrected by Holm's method over "
    "the {family} rows of the declared family. Win or loss: the interval excludes 0. Equivalent: "
    "it is within the declared margin. Inconclusive: neither. Exploratory rows are outside of the "
    "family. Numbers are those of the last epoch."
)


def write_report(
    path: Path,
    console: Console,
    *,
    out: Path | None = None,
    against: str | None = None,
    metric: str | None = None,
) -> list[str]:
    """Write the report of a board, of its archive, or of a folder of runs.

    Args:
        path: the board, the archive (`.tar.xz`), or the folder.
        console: where the table is printed.
        out: folder to write to. The default is `path/report`; for an archive, a folder of its name
            beside it.
        against: the row to test the others against.
        metric: the number to test.

    Returns:
        The faults that `--check` reports; empty if there are none.

    Raises:
        UserError: there is nothing to report, or a name is unknown.
    """
    if not exists(path):
        siblings = [str(other) for other in path.parent.glob("*")] if is_dir(path.parent) else []
        raise UserError(f"no folder {path}.{nearest(str(path), siblings)}")
    packed = is_file(path)
    out = out or (path.with_name(path.name.removesuffix(SUFFIX)) if packed else path / "report")
    if not packed and not exists(path / "board.json"):
        return _write(folder_table(path, metric, against), out, console)
    with read_board(path, metric, against) as (_, table):
        return _write(table, out, console)


def _write(table: Table, out: Path, console: Console) -> list[str]:
    with held(out, console):
        _write_files(table, out)
    show(table, console)
    found = (each.text for each in find_variants(table))
    for line in (*table.facts, *found, *(f"left out: {each}" for each in table.problems)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    place = f"report: {out / 'index.html'}"
    console.print(place, soft_wrap=True, highlight=False, markup=False)
    return table.lacking


def _write_files(table: Table, out: Path) -> None:
    from solo_registry.leaderboard.figures import draw_board

    pictures = draw_board(table, out)
    images = {
        base64.b64encode((out / name).read_bytes()).decode(): text
        for name, text in pictures.items()
    }
    content = {
        "table": table,
        "columns": columns(table),
        "variants": find_variants(table),
        "variants_how": VARIANTS,
        "how": how(table),
        "protocols": protocols(table),
        "commands": "\n".join(row.command for row in table.rows if row.command),
    }
    texts = {
        "results.csv": csv_text(frame(table)),
        "runs.csv": csv_text(runs_frame(table)),
        "results.tex": latex(shown_frame(table)),
        "report.md": page(HERE, "report.md.jinja", pictures=pictures, **content),
        "index.html": page(HERE, "report.html.jinja", images=images, **reacting(table), **content),
    }
    for name, text in texts.items():
        write_text(out / name, text)


def reacting(table: Table) -> dict[str, Any]:
    """Return what the page's figures are made of; without the library it has pictures alone."""
    from solo_registry.leaderboard.charts import as_script, charts, library

    made = charts(table)
    return {
        "library": library(),
        "charts": list(made),
        "specs": as_script(list(made.values())),
        "looks": looks(row.name for row in table.rows),
    }


def frame(table: Table) -> pd.DataFrame:
    """Return a table with one row per strategy and every number in full."""
    rows: list[dict[str, Any]] = []
    for row in table.rows:
        cells: dict[str, Any] = {"strategy": row.name, "same": " ".join(row.same)}
        cells |= {"setting": row.setting}
        cells |= {"seeds": " ".join(sorted(row.runs, key=int)), "n": len(row.runs)}
        for metric in table.metrics:
            found = row.summary(metric)
            cells |= {f"{metric}_mean": found.mean, f"{metric}_std": found.std}
            cells[f"{metric}_half95"] = found.half
        test = row.comparison
        cells |= {"reference": table.reference, "tested_metric": table.metric}
        cells |= {
            "difference": test.difference if test else None,
            "difference_half95": test.half if test else None,
            "pairs": test.n if test else None,
            "difference_std": test.std if test else None,
            "p": test.p if test else None,
            "p_holm": test.holm if test else None,
            "level_holm": test.level if test else None,
            "verdict": verdict(row, table),
        }
        low, high = (test.interval if test else None) or (None, None)
        cells |= {"difference_low": low, "difference_high": high}
        cells |= {"train_seconds": row.cost("train_seconds")}
        cells |= {key: row.cost(key) for key in ("peak_host_bytes", "peak_gpu_bytes")}
        cells |= {"protocol": row.protocol(table.metric), "config_hash": row.hash}
        cells |= {"command": row.command, "problems": "; ".join(row.problems)}
        rows.append(cells)
    return pd.DataFrame(rows)


def shown_frame(table: Table) -> pd.DataFrame:
    """Return the readers' table, as text."""
    shown = columns(table)
    return pd.DataFrame({each.heading: [each.text(row) for row in table.rows] for each in shown})


def runs_frame(table: Table) -> pd.DataFrame:
    """Return a table with one row per finished run."""
    return pd.DataFrame(
        [
            {"strategy": row.name, "config_hash": row.hash, "seed": seed}
            | {metric: run.value(metric) for metric in table.metrics}
            | {"train_seconds": run.cost.get("train_seconds"), "machine": run.machine}
            for row in table.rows
            for seed, run in sorted(row.runs.items(), key=lambda item: int(item[0]))
        ]
    )


def how(table: Table) -> str:
    """Return the explanation of the columns."""
    reference = f"'{table.reference}'" if table.reference else "a reference (--against names it)"
    return HOW.format(reference=reference, family=len(table.family))


def protocols(table: Table) -> dict[str, str]:
    """Return the protocol of each number; if rows differ, all protocols that occur."""
    found = {}
    for metric in table.metrics:
        texts = sorted({row.protocol(metric) for row in table.rows if row.runs})
        if texts:
            found[LABELS[metric]] = " | ".join(texts)
    return found


def show(table: Table, console: Console) -> None:
    """Print the main columns."""
    main = [column for column in columns(table) if column.on_terminal]
    shown = RichTable(
        *(column.heading for column in main),
        title=Text(table.title),
        caption=Text(how(table)),
        caption_justify="left",
    )
    for row in table.rows:
        shown.add_row(*(Text(column.text(row)) for column in main))
    console.print(shown)
