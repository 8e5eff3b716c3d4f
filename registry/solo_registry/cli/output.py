"""What commands print: lines, and tables."""

from __future__ import annotations

from typing import Any


def say(text: str) -> None:
    """Print a text as it is, however long its lines are."""
    from solo_registry.console import terminal

    terminal().print(text, soft_wrap=True, highlight=False, markup=False)


def print_table(table: Any, title: str) -> None:
    """Print a DataFrame under a title."""
    from solo_registry.console import terminal
    from solo_registry.plots.tables import frame_table

    terminal().print(frame_table(table, title))
