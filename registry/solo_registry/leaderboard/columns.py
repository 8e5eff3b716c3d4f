"""The columns of a board's table for readers, and how each cell is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solo_registry.config.overrides import short
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.plots.names import LABELS, number

SHOWN = ("linear_acc1", "knn_acc1", "uniformity", "tolerance")


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        heading: its heading.
        text: writes the cell of a row.
        sort: returns what the page sorts a row by, None last; the column's text if not given.
        on_terminal: whether the terminal's table has the column too.
    """

    heading: str
    text: Callable[[Row], str]
    sort: Callable[[Row], float | str | None] | None = None
    on_terminal: bool = False

    def key(self, row: Row) -> float | str | None:
        """Return what the page sorts a row by."""
        return (self.sort or self.text)(row)


def columns(table: Table) -> list[Column]:
    """Return the columns of a table, in the order of reading."""
    main = table.metric

    def test(row: Row, key: str) -> float | None:
        return getattr(row.comparison, key) if row.comparison else None

    def written(value: float | None, digits: str) -> str:
        return "-" if value is None else format(value, digits)

    def mean(metric: str, on_terminal: bool = False) -> Column:
        return Column(LABELS[metric], lambda row: interval(row, metric),
                      lambda row: row.summary(metric).mean, on_terminal)  # fmt: skip

    return [
        Column("strategy", lambda row: row.title, on_terminal=True),
        Column("verdict", lambda row: verdict(row, table), on_terminal=True),
        mean(main, on_terminal=True),
        Column("difference", lambda row: written(test(row, "difference"), "+.3f"),
               lambda row: test(row, "difference"), on_terminal=True),
        Column("corrected interval", corrected,
               lambda row: ((row.comparison and row.comparison.interval) or [None])[0],
               on_terminal=True),
        Column("p (Holm)", lambda row: written(test(row, "holm"), ".3g"),
               lambda row: test(row, "holm"), on_terminal=True),
        Column("n", lambda row: str(len(row.values(main))),
               lambda row: len(row.values(main)), on_terminal=True),
        Column("setting", setting, on_terminal=True),
        Column("std", lambda row: number(row.summary(main).std, main),
               lambda row: row.summary(main).std),
        *(mean(metric) for metric in SHOWN if metric != main),
        Column("training", lambda row: seconds(row.cost("train_seconds")),
               lambda row: row.cost("train_seconds")),
        Column("memory", memory,
               lambda row: row.cost("peak_gpu_bytes") or row.cost("peak_host_bytes")),
        Column("hash", lambda row: row.hash),
    ]  # fmt: skip


def setting(row: Row) -> str:
    """Return the selected point with the last parts of its keys."""
    return " ".join(short(override) for override in row.setting.split())


def verdict(row: Row, table: Table) -> str:
    """Return the verdict on a row in one word."""
    if row.source != "trained":
        return "baseline"
    if row.name == table.reference:
        return "reference"
    if not row.runs:
        return "no result"
    return row.comparison.verdict if row.comparison else "no test"


def corrected(row: Row) -> str:
    """Format the corrected interval of the difference."""
    found = row.comparison and row.comparison.interval
    return f"{found[0]:+.2f} to {found[1]:+.2f}" if found else "-"


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
