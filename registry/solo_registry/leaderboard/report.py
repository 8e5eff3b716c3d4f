"""Writes the report: Markdown, CSV, one HTML page and pictures, a pure function of result files."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console
from rich.table import Table as RichTable

from solo_registry.config.overrides import short
from solo_registry.errors import UserError, nearest
from solo_registry.leaderboard.archive import SUFFIX, unpacked
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.rows import METRICS, Row, Table, board_table, folder_table
from solo_registry.plots.names import LABELS, number
from solo_registry.runs.run_folder import atomic_write

SHOWN = ("linear_acc1", "knn_acc1", "uniformity", "tolerance")
HOW = (
    "Mean ± half the 95% t interval over n seeds; std is the sample standard deviation. "
    "Difference, p and verdict are of a paired t test against {reference} over common seeds, "
    "Holm-corrected over the rows that were tested; below 0.05 it is a win or a loss, else a tie. "
    "Numbers are those of the last epoch."
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
    if path.is_file():
        with unpacked(path) as board:
            out = out or path.with_name(path.name.removesuffix(SUFFIX))
            table = board_table(Board.read(board), metric, against)
            table.leave_out(f"{board}/")
            return _write(table, out, console)
    if not path.is_dir():
        siblings = [str(other) for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"no folder {path}.{nearest(str(path), siblings)}")
    if (path / "board.json").exists():
        table = board_table(Board.read(path), metric, against)
    else:
        table = folder_table(path, metric, against)
    return _write(table, out or path / "report", console)


def _write(table: Table, out: Path, console: Console) -> list[str]:
    from solo_registry.leaderboard.figures import draw_board

    pictures = draw_board(table, out)
    rows = frame(table)
    texts = {
        "results.csv": rows.to_csv(index=False),
        "runs.csv": runs_frame(table).to_csv(index=False),
        "report.md": markdown(table, pictures),
        "index.html": html(table, rows, pictures, out),
    }
    for name, text in texts.items():
        with atomic_write(out / name) as part:
            part.write_text(text, encoding="utf-8")
    show(table, console)
    for problem in table.problems:
        console.print(f"left out: {problem}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"report: {out / 'index.html'}", soft_wrap=True, highlight=False)
    return table.lacking


def frame(table: Table) -> pd.DataFrame:
    """Return a table with one row per strategy and every number in full."""
    rows: list[dict[str, Any]] = []
    for row in table.rows:
        cells: dict[str, Any] = {"strategy": row.name, "setting": row.setting}
        cells |= {"seeds": " ".join(sorted(row.runs, key=int)), "n": len(row.runs)}
        for metric in METRICS:
            found = row.summary(metric)
            cells |= {f"{metric}_mean": found.mean, f"{metric}_std": found.std}
            cells[f"{metric}_half95"] = found.half
        test = row.comparison
        cells |= {"reference": table.reference, "tested_metric": table.metric}
        cells |= {
            "difference": test.difference if test else None,
            "difference_half95": test.half if test else None,
            "p": test.p if test else None,
            "p_holm": test.holm if test else None,
            "verdict": verdict(row, table),
        }
        cells |= {"train_seconds": row.cost("train_seconds")}
        cells |= {key: row.cost(key) for key in ("peak_host_bytes", "peak_gpu_bytes")}
        cells |= {"protocol": row.protocol(table.metric), "config_hash": row.hash}
        cells |= {"command": row.command, "problems": "; ".join(row.problems)}
        rows.append(cells)
    return pd.DataFrame(rows)


def runs_frame(table: Table) -> pd.DataFrame:
    """Return a table with one row per finished run."""
    return pd.DataFrame(
        [
            {"strategy": row.name, "config_hash": row.hash, "seed": seed}
            | {metric: run.value(metric) for metric in METRICS}
            | {"train_seconds": run.cost.get("train_seconds"), "machine": run.machine}
            for row in table.rows
            for seed, run in sorted(row.runs.items(), key=lambda item: int(item[0]))
        ]
    )


def verdict(row: Row, table: Table) -> str:
    """Return the verdict on a row in one word."""
    if row.name == table.reference:
        return "reference"
    if not row.runs:
        return "failed"
    return row.comparison.verdict if row.comparison else "no test"


def interval(row: Row, metric: str) -> str:
    """Format the mean with its interval."""
    found = row.summary(metric)
    half = f" ± {number(found.half, metric)}" if found.half is not None else ""
    return number(found.mean, metric) + half


def seconds(value: float | None) -> str:
    """Format a time for readers."""
    return "-" if value is None else f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def memory(row: Row) -> str:
    """Format the peak memory for readers: of the GPU if there is one, else of the host."""
    gpu, host = row.cost("peak_gpu_bytes"), row.cost("peak_host_bytes")
    value = gpu or host
    return "-" if value is None else f"{value / 2**30:.2f} GiB" + (" GPU" if gpu else "")


def columns(table: Table) -> dict[str, Callable[[Row], str]]:
    """Return the columns for readers: heading and a function that formats the cell."""
    main = table.metric
    others = [metric for metric in SHOWN if metric != main]

    def test(row: Row, key: str, digits: str) -> str:
        value = getattr(row.comparison, key) if row.comparison else None
        return "-" if value is None else format(value, digits)

    def mean_of(metric: str) -> Callable[[Row], str]:
        return lambda row: interval(row, metric)

    return {
        "strategy": lambda row: row.name,
        "setting": lambda row: " ".join(short(word) for word in row.setting.split()),
        LABELS[main]: mean_of(main),
        "std": lambda row: number(row.summary(main).std, main),
        "n": lambda row: str(len(row.values(main))),
        "difference": lambda row: test(row, "difference", "+.3f"),
        "p (Holm)": lambda row: test(row, "holm", ".3g"),
        "verdict": lambda row: verdict(row, table),
        **{LABELS[metric]: mean_of(metric) for metric in others},
        "training": lambda row: seconds(row.cost("train_seconds")),
        "memory": memory,
        "hash": lambda row: row.hash,
    }


def how(table: Table) -> str:
    """Return the explanation of the columns."""
    reference = f"'{table.reference}'" if table.reference else "a reference (--against names it)"
    return HOW.format(reference=reference)


def protocols(table: Table) -> dict[str, str]:
    """Return the protocol of each number; if rows differ, all protocols that occur."""
    found = {}
    for metric in METRICS:
        texts = sorted({row.protocol(metric) for row in table.rows if row.runs})
        if texts:
            found[LABELS[metric]] = " | ".join(texts)
    return found


def markdown(table: Table, pictures: dict[str, str]) -> str:
    """Write the table for a README or a pull request."""
    cells = columns(table)
    lines = [f"# {table.title}", "", *table.facts, "", how(table), ""]
    lines += [f"| {' | '.join(cells)} |", "|" + "---|" * len(cells)]
    for row in table.rows:
        lines.append(f"| {' | '.join(_escape(cell(row)) for cell in cells.values())} |")
    for key, name, source in table.baselines():
        shown = {LABELS[metric]: source.summary(metric, key) for metric in METRICS}
        values = {
            head: number(found.mean, metric)
            for (head, found), metric in zip(shown.items(), METRICS, strict=True)
        }
        values |= {"strategy": f"*{name}*", "verdict": "baseline"}
        lines.append(f"| {' | '.join(values.get(head, '') for head in cells)} |")
    lines += ["", "## Protocols", ""]
    lines += [f"- {name}: {text}" for name, text in protocols(table).items()]
    if table.problems:
        lines += ["", "## Left out", "", *(f"- {_escape(text)}" for text in table.problems)]
    lines += ["", "## Pictures", ""]
    lines += [f"![{text}]({name})" for name, text in pictures.items()]
    lines += ["", "## Commands", "", "```bash"]
    lines += [row.command for row in table.rows if row.command]
    return "\n".join([*lines, "```", ""])


def _escape(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def html(table: Table, rows: pd.DataFrame, pictures: dict[str, str], out: Path) -> str:
    """Return one self-contained page: the pictures are inside, the tables can be sorted."""
    environment = Environment(
        loader=PackageLoader("solo_registry.leaderboard", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    images = [
        (base64.b64encode((out / name).read_bytes()).decode(), text)
        for name, text in pictures.items()
    ]
    return environment.get_template("report.html.jinja").render(
        table=table,
        columns=columns(table),
        keys=_sort_keys(table),
        baselines=[
            (name, {LABELS[m]: number(row.summary(m, key).mean, m) for m in METRICS})
            for key, name, row in table.baselines()
        ],
        how=how(table),
        protocols=protocols(table),
        images=images,
    )


def _sort_keys(table: Table) -> dict[str, Callable[[Row], float | str | None]]:
    """Return the sort keys of the columns that are not sorted by their text."""
    keys: dict[str, Callable[[Row], float | str | None]] = {
        "training": lambda row: row.cost("train_seconds"),
        "memory": lambda row: row.cost("peak_gpu_bytes") or row.cost("peak_host_bytes"),
        "difference": lambda row: row.comparison.difference if row.comparison else None,
        "p (Holm)": lambda row: row.comparison.holm if row.comparison else None,
        "std": lambda row: row.summary(table.metric).std,
        "n": lambda row: float(len(row.values(table.metric))),
    }
    for metric in METRICS:
        keys[LABELS[metric]] = lambda row, metric=metric: row.summary(metric).mean  # type: ignore[misc]
    return keys


def show(table: Table, console: Console) -> None:
    """Print the main columns."""
    cells = columns(table)
    heads = list(cells)[:8]
    shown = RichTable(*heads, title=table.title, caption=how(table), caption_justify="left")
    for row in table.rows:
        shown.add_row(*(cells[head](row) for head in heads))
    console.print(shown)
