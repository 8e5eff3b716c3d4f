"""What is registered, as a table for the terminal or for the documentation.

Nothing that is registered is imported, except to say which `method_kwargs` a method has.
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

`dyntemp methods --markdown > docs/methods.md` writes this page. *From elsewhere* says what a method
does not take from here: **solo-learn keys**, it has the name and the `method_kwargs` of
solo-learn's method, whose YAML runs; **lightly loss and modules** (heads, decoders), these are
lightly's. All else, the steps included, is written here from the papers.

The tables of `method_kwargs` stand below, in alphabetical order of the methods, and `dyntemp
methods NAME` prints the table of one method. A number is always finite and at most {LIMIT}
in size, and may be given as an integer; null is a value only where the type says so.
"""


class KwargRow(NamedTuple):
    """What a table says of one key of `method_kwargs`."""

    key: str
    type: str
    default: str
    allowed: str
    help: str


def describe_kwargs(name: str) -> list[KwargRow]:
    """Return a row for each key of the `method_kwargs` of the method `name`; imports its class.

    Raises:
        UserError: there is no such method; the text holds the nearest name.
    """
    load_plugins()
    return [
        KwargRow(key, kwarg.type_name, spell(kwarg.default), kwarg.allowed, kwarg.help)
        for key, kwarg in declared_kwargs(METHODS.get(name)).items()
    ]


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
    """Print the entries that match, and of a single method its `method_kwargs`."""
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
    """Print a table of the columns that are not empty; plain text when piped."""
    from rich.table import Table

    from solo_registry.console import terminal

    used = {title: column for title, column in columns.items() if any(column)}
    table = Table(*used, box=None, header_style="bold")
    for row in zip(*used.values(), strict=True):
        table.add_row(*row)
    terminal().print(table)


def method_page(pattern: str = "*") -> str:
    """Return the methods as a page in Markdown.

    A table for each family comes first, then one of the `method_kwargs` of each method.
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
    """Return a link to arXiv, where the paper is there.

    >>> _link("arXiv 2002.05709")
    '[2002.05709](https://arxiv.org/abs/2002.05709)'
    >>> _link("ours")
    'ours'
    """
    where, _, number = paper.partition(" ")
    return f"[{number}](https://arxiv.org/abs/{number})" if where == "arXiv" else paper
