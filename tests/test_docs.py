"""The pages for readers: their links lead somewhere, and their lines are short enough to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST = 120  # characters of a line; a table's row or an image's line may be longer
LINK = re.compile(r"\]\(([^()\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def prose(page: Path) -> list[tuple[int, str]]:
    """Return the numbered lines of the page that stand in no block of code."""
    lines, code = [], False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = line.lstrip().startswith("```")
        code ^= fence
        if not code and not fence:
            lines.append((number, line))
    return lines


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the page's headings."""
    headings = [line.lstrip("#").strip() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def links(page: Path) -> Iterator[tuple[int, str]]:
    for number, line in prose(page):
        yield from ((number, target) for target in LINK.findall(line))


def broken(page: Path) -> list[str]:
    """Return what is wrong with the page's relative links, a line each."""
    faults = []
    for number, target in links(page):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists():
            faults.append(f"{name(page)}:{number}: {target}: no such file")
        elif anchor and anchor not in anchors(goal):
            faults.append(f"{name(page)}:{number}: {target}: no such heading")
    return faults


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_are_short(page: Path) -> None:
    long = [
        f"{name(page)}:{number}: {len(line)}"
        for number, line in prose(page)
        if len(line) > LONGEST and not line.startswith(("|", "!["))
    ]
    assert long == []


def test_the_index_names_every_page() -> None:
    index = ROOT / "docs/README.md"
    named = {target for _, target in links(index)}
    assert {page.name for page in index.parent.glob("*.md")} - named == {index.name}


def test_a_wrong_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    text = "# A `b.c` d\n[x](#a-bc-d) [y](#e) [z](gone.md)\n```\n[in code](gone.md)\n```\n"
    page.write_text(text)
    assert [fault.partition(": ")[2] for fault in broken(page)] == [
        "#e: no such heading", "gone.md: no such file",
    ]  # fmt: skip
