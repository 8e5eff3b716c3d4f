"""Variants of several hosts, each against its own host: `HOST_dyntemp` and `HOST`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from solo_registry.leaderboard.rows import Row, Table
from solo_registry.leaderboard.statistics import Comparison, compare
from solo_registry.plots.names import LABELS, number
from solo_registry.plots.style import BLACK, COLOURS, new_figure, save

VARIANTS = (
    "Intervals are not corrected, and rows get no verdict by them. In the mean a host counts once, "
    "with its own tuning; its interval is the t interval of the hosts' differences."
)
LEAST = 2  # hosts: one pair is a row's difference, and no interval over hosts


@dataclass(frozen=True)
class Variants:
    """The rows HOST_SUFFIX of a table and their hosts' rows, HOST.

    Attributes:
        suffix: what all of their names end with.
        metric: the number that differs.
        pairs: each variant against its host, by host; exploratory, with uncorrected intervals.
        over_hosts: the mean of these differences, with its t interval. A host counts once, with its
            own tuning, so the interval holds the chance of tuning. It is about hosts like these.
    """

    suffix: str
    metric: str
    pairs: dict[str, Comparison]
    over_hosts: Comparison

    @property
    def text(self) -> str:
        """The mean over hosts in one sentence."""
        mean, between, count = self.cells(self.over_hosts)
        return (
            f"HOST_{self.suffix} less HOST, {LABELS[self.metric]}: {mean} in the mean of {count} "
            f"hosts, 95% interval {between}."
        )

    def cells(self, test: Comparison) -> list[str]:
        """Return difference, uncorrected 95% interval and number of pairs for readers."""
        mean, half = test.difference or 0.0, test.half
        ends = [] if half is None else [mean - half, mean + half]
        shown = [number(value, self.metric, sign=True) for value in (mean, *ends)]
        return [shown[0], " to ".join(shown[1:]) or "-", str(test.n)]


def find_variants(table: Table) -> list[Variants]:
    """Return the variants that two or more hosts of a table have.

    A pair that was measured by unlike protocols, or has no seed in common, is left out.
    """
    rows = {name: row for row in table.rows for name in (row.name, *row.same)}
    found: dict[str, dict[str, Comparison]] = {}
    for host, base in rows.items():
        for name, row in rows.items():
            if name.startswith(f"{host}_") and _alike(row, base, table.metric):
                pair = compare(row.values(table.metric), base.values(table.metric), table.tunings)
                if pair.difference is not None:
                    found.setdefault(name.removeprefix(f"{host}_"), {})[host] = pair
    return [
        Variants(
            suffix, table.metric, pairs, compare(_differences(pairs), dict.fromkeys(pairs, 0.0))
        )
        for suffix, pairs in found.items()
        if len(pairs) >= LEAST
    ]


def _alike(row: Row, other: Row, metric: str) -> bool:
    return row.protocol(metric) == other.protocol(metric)


def _differences(pairs: Mapping[str, Comparison]) -> dict[str, float]:
    return {host: pair.difference or 0.0 for host, pair in pairs.items()}


def draw_variants(found: Variants, out: Path) -> Path:
    """Draw the difference of each variant from its host, and their mean at the bottom."""
    (axis,) = new_figure(1, 1, width=8.0, height=1.7 + 0.4 * len(found.pairs))
    ordered = sorted(found.pairs.items(), key=lambda pair: pair[1].difference or 0.0)
    lines = [(f"mean of {len(ordered)}", found.over_hosts), *ordered]
    for place, (_, test) in enumerate(lines):
        colour, mark = (COLOURS[0], "o") if place else (BLACK, "D")
        axis.errorbar([test.difference or 0.0], [place], xerr=[test.half or 0.0], fmt=mark,
                      color=colour, capsize=4, markersize=7)  # fmt: skip
    axis.axvline(0.0, color=BLACK, linewidth=1)
    axis.set_yticks(range(len(lines)), [name for name, _ in lines])
    axis.set_ylim(-0.6, len(lines) - 0.4)
    axis.set_xlabel(f"{LABELS[found.metric]}: HOST_{found.suffix} less HOST")
    return save(axis, out)
