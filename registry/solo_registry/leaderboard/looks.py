"""The colour and the mark of each strategy, the same in every figure of a report."""

from __future__ import annotations

from collections.abc import Iterable

from solo_registry.plots.style import COLOURS

MARKS = "osD^vP*X"
LINES = ("-", "--", ":", "-.")


def looks(names: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return colour, mark and line of each name; no two names have all alike.

    >>> looks(["fixed", "cosine"])["fixed"]
    ('#0072B2', 'o', '-')
    """
    return {
        name: (
            COLOURS[i % len(COLOURS)],
            MARKS[i // len(COLOURS) % len(MARKS)],
            LINES[i // len(COLOURS) % len(LINES)],
        )
        for i, name in enumerate(names)
    }
