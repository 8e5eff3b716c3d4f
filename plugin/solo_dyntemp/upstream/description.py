"""The text of a pull request: what, why, how tested, what is not known, how to find out."""

from __future__ import annotations

from collections.abc import Sequence

from solo_dyntemp.upstream.changes import Change, Kit
from solo_dyntemp.upstream.formula import filled, python_formula
from solo_registry.plots.pages import page


def description(kit: Kit, changes: Sequence[Change]) -> str:
    """Return the text of a pull request, in Markdown.

    Args:
        kit: the pull request.
        changes: all of its changes, for its size.
    """
    return page(
        "solo_dyntemp.upstream",
        f"{kit.host.name.replace('-', '_')}.md.jinja",
        kit=kit,
        size=sum(change.size() for change in changes),
        files=len(changes),
        paper=filled("PAPER"),
        formula=python_formula("s").replace("torch.", ""),
        function="dynamic_temperature",
        **{name: filled(name.upper()) for name in ("tau_min", "tau_max")},
    )
