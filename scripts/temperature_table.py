"""Writes the table of docs/temperatures.md: each temperature against a second implementation.

    python scripts/temperature_table.py

It fetches nothing. The second implementation is tests/plugin/temperature_references.py.
"""

from __future__ import annotations

import runpy
from pathlib import Path

from solo_dyntemp.names import TEMPERATURE_ENTRIES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "temperatures.md"
BEGIN, END = "<!-- table: scripts/temperature_table.py -->\n", "<!-- end of table -->\n"


def size(value: float | None) -> str:
    """Return the power of ten above a difference; the last digits differ between machines."""
    if value is None:
        return "no value"
    return next(f"below 1e-{power}" for power in (14, 12, 10, 7, 6, 0) if value < 10**-power)


def table() -> str:
    """Return the table as Markdown."""
    differences = runpy.run_path(str(ROOT / "tests" / "plugin" / "test_references.py"))[
        "differences"
    ]
    lines = ["| name | what it is | source | loss | gradient, state |", "|---|---|---|---|---|"]
    for name, _, summary, paper in TEMPERATURE_ENTRIES:
        loss, gradient = differences(name)
        place, _, forum = paper.rpartition(" ")
        page = f"openreview.net/forum?id={forum}" if place else f"arxiv.org/abs/{paper}"
        source = f"[{place or 'arXiv'} {forum}](https://{page})" if paper else "ours"
        what = summary.replace("|", "\\|")
        lines.append(f"| `{name}` | {what} | {source} | {size(loss)} | {size(gradient)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the table of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
