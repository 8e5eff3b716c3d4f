"""What is registered, as a table for the terminal or for the documentation; imports no torch."""

from __future__ import annotations

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS, Entry, Registry
from solo_registry.errors import UserError

HEAD = """\
# Methods

`dyntemp methods --markdown > docs/methods.md` writes this page. *From elsewhere* says what a method
does not take from here: **solo-learn keys**, it has the name and the `method_kwargs` of
solo-learn's method, whose YAML runs; **lightly loss and modules** (heads, decoders), these are
lightly's. All else, the steps included, is written here from the papers.
"""


def matching(registry: Registry, pattern: str) -> list[Entry]:
    """Return the entries that match, by family and name.

    Raises:
        UserError: there are none; the text holds all known names.
    """
    load_plugins()
    entries = registry.entries(pattern)
    if not entries:
        raise UserError(
            f"no {registry.kind} matches '{pattern}'. Known: {', '.join(registry.names())}"
        )
    return sorted(entries, key=lambda entry: entry.family)


def show(registry: Registry, pattern: str) -> None:
    """Print the entries that match; a plain table when piped."""
    from rich.table import Table

    from solo_registry.console import terminal

    entries = matching(registry, pattern)
    columns = {
        "name": [entry.name for entry in entries],
        "family": [entry.family for entry in entries],
        "what": [entry.summary for entry in entries],
        "paper": [entry.paper for entry in entries],
        "from elsewhere": [entry.origin for entry in entries],
        "provider": [entry.provider for entry in entries],
    }
    used = {title: column for title, column in columns.items() if any(column)}
    table = Table(*used, box=None, header_style="bold")
    for row in zip(*used.values(), strict=True):
        table.add_row(*row)
    terminal().print(table)


def method_page(pattern: str = "*") -> str:
    """Return the methods as a page in Markdown, a table for each family."""
    lines, family = [HEAD], ""
    for entry in matching(METHODS, pattern):
        if (entry.family or "others") != family:
            family = entry.family or "others"
            lines.append(f"\n## {family.capitalize()}\n")
            lines.append("\n| method | what | paper | from elsewhere |\n|---|---|---|---|\n")
        cells = (f"`{entry.name}`", entry.summary, _link(entry.paper), entry.origin)
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def _link(paper: str) -> str:
    """Return a link to arXiv, where the paper is there.

    >>> _link("arXiv 2002.05709")
    '[2002.05709](https://arxiv.org/abs/2002.05709)'
    >>> _link("ours")
    'ours'
    """
    where, _, number = paper.partition(" ")
    return f"[{number}](https://arxiv.org/abs/{number})" if where == "arXiv" else paper
