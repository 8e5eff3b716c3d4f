from __future__ import annotations

from pathlib import Path

import pytest

from solo_registry.catalog.listing import matching, method_page
from solo_registry.catalog.registry import METHODS, Registry
from solo_registry.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


def test_the_page_in_docs_is_fresh() -> None:
    fresh = method_page()
    assert PAGE.read_text(encoding="utf-8") == fresh, "dyntemp methods --markdown > docs/methods.md"
    for name in METHODS:
        assert f"| `{name}` | " in fresh


def test_entries_come_by_family_and_name() -> None:
    found = [(entry.family, entry.name) for entry in matching(METHODS, "*")]
    assert found == sorted(found) and len(found) == len(METHODS)


def test_a_method_without_family_stands_under_others(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry("method")
    registry.add_lazy("mine", "my_package:Mine", summary="something", paper="a thesis")
    monkeypatch.setattr("solo_registry.catalog.listing.METHODS", registry)
    assert method_page().endswith(
        "## Others\n\n| method | what | paper | from elsewhere |\n|---|---|---|---|\n"
        "| `mine` | something | a thesis |  |\n"
    )


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"no method matches 'zzz\*'\. Known: all4one, "):
        matching(METHODS, "zzz*")
