"""Lists the registered names as a table for the terminal or for the documentation.

It imports a registered class only to show the `method_kwargs` of a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from solo_registry.catalog.declared import LIMIT, spell
from solo_registry.catalog.kwargs import declared_kwargs
from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS, Entry, Registry
from solo_registry.errors import UserError

HEAD = f"""\
# Methods

`dyntemp methods --markdown > docs/methods.md` writes this page. The column *from elsewhere* names
what is not written here:

- **solo-learn keys**: the method has the name and the `method_kwargs` of solo-learn's method, so
  solo-learn's YAML runs.
- **lightly loss**, **lightly modules**: the loss, or the heads and decoders, are lightly's.

All else, including the training steps, is written here from the papers.

The tables of `method_kwargs` follow below, in alphabetical order of the methods. `dyntemp methods
NAME` prints the table of one method. A number must be finite and at most {LIMIT} in size. It
may be given as an integer. null is allowed only where the type says so.
"""


class KwargRow(NamedTuple):
    """One key of `method_kwargs`, as a row of a table."""

    key: str
    type: str
    default: str
    allowed: str
    help: str


def describe_kwargs(name: str) -> list[KwargRow]:
    """Return a row for each key of the `method_kwargs` of the method `name`; imports its class.

    Raises:
        UserError: there is no such method; the message suggests the nearest name.
    """
    load_plugins()
    return [
        KwargRow(key, kwarg.type_name, spell(kwarg.default), kwarg.allowed, kwarg.help)
        for key, kwarg in declared_kwargs(METHODS.get(name)).items()
    ]


def matching(registry: Registry, pattern: str) -> list[Entry]:
    """Return the entries that match, sorted by family and name.

    Raises:
        UserError: there are none; the message lists all known names.
    """
    load_plugins()
    entries = registry.entries(pattern)
    if not entries:
        raise UserError(
            f"no {registry.kind} matches '{pattern}'. Known: {', '.join(registry.names())}"
        )
    return sorted(entries, key=lambda entry: entry.family)


def show(registry: Registry, pattern: str) -> None:
    """Print the entries that match and, for a single method, its `method_kwargs`."""
    entries = matching(registry, pattern)
    columns = {
        "name": [entry.name for entry in entries],
        "family": [entry.family for entry in entries],
        "what": [entry.summary for entry in entries],
        "paper": [entry.paper for entry in entries],
        "from elsewhere": [entry.origin for entry in entries],
        "provider": [entry.provider for entry in entries],
    }
    print_columns(columns)
    if registry is METHODS and pattern in METHODS and (rows := describe_kwargs(pattern)):
        print()
        titles = ("method_kwargs", *KwargRow._fields[1:])
        print_columns(dict(zip(titles, zip(*rows, strict=True), strict=True)))


def print_columns(columns: Mapping[str, Sequence[str]]) -> None:
    """Print a table without its empty columns; plain text when piped."""
    from rich.table import Table

    from solo_registry.console import terminal

    used = {title: column for title, column in columns.items() if any(column)}
    table = Table(*used, box=None, header_style="bold")
    for row in zip(*used.values(), strict=True):
        table.add_row(*row)
    terminal().print(table)


def method_page(pattern: str = "*") -> str:
    """Return the methods as a page in Markdown.

    It has a table for each family, then a table of the `method_kwargs` of each method.
    """
    lines, family = [HEAD], ""
    entries = matching(METHODS, pattern)
    for entry in entries:
        if (entry.family or "others") != family:
            family = entry.family or "others"
            lines.append(f"\n## {family.capitalize()}\n")
            lines.append("\n| method | what | paper | from elsewhere |\n|---|---|---|---|\n")
        cells = (f"`{entry.name}`", entry.summary, _link(entry.paper), entry.origin)
        lines.append(_line(cells))
    tables = []
    for name in sorted(entry.name for entry in entries):
        if rows := describe_kwargs(name):
            tables += [f"\n### {name}\n\n", _line(KwargRow._fields), "|---|---|---|---|---|\n"]
            tables += [_line((f"`{row.key}`", *row[1:])) for row in rows]
    return "".join([*lines, "\n## method_kwargs\n", *tables] if tables else lines)


def _line(cells: Sequence[str]) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cells)} |\n"


def _link(paper: str) -> str:
    """Return a link, if the paper is at arXiv.

    >>> _link("arXiv 2002.05709")
    '[2002.05709](https://arxiv.org/abs/2002.05709)'
    >>> _link("ours")
    'ours'
    """
    where, _, number = paper.partition(" ")
    return f"[{number}](https://arxiv.org/abs/{number})" if where == "arXiv" else paper
