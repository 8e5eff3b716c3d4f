from __future__ import annotations

from pathlib import Path

import pytest

from solo_registry.catalog.listing import describe_kwargs, matching, method_page, show
from solo_registry.catalog.registry import METHODS, Registry
from solo_registry.errors import UserError

PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


def test_the_page_in_docs_is_fresh() -> None:
    fresh = method_page()
    assert PAGE.read_text(encoding="utf-8") == fresh, "dyntemp methods --markdown > docs/methods.md"
    for name in METHODS:
        assert f"| `{name}` | " in fresh


def test_every_key_of_every_method_has_its_line_on_the_page_and_in_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = method_page()
    for name in METHODS:
        table = page.partition(f"\n### {name}\n")[2].partition("\n###")[0]
        for row in describe_kwargs(name):
            assert (
                f"| `{row.key}` | {row.type} | {row.default} | {row.allowed} | {row.help} |"
                in table
            )
    show(METHODS, "siglip")
    shown = capsys.readouterr().out
    assert all(row.key in shown and row.help in shown for row in describe_kwargs("siglip"))
    show(METHODS, "siglip*")
    assert "proj_hidden_dim" not in capsys.readouterr().out


def test_a_default_that_is_replaced_keeps_its_declaration() -> None:
    rows = {name: describe_kwargs(name)[2] for name in ("simclr", "supcon_out", "simclr_learnable")}
    assert rows["supcon_out"] == rows["simclr"]._replace(default="0.1")
    assert rows["simclr_learnable"].default == "learnable"
    with pytest.raises(UserError, match=r"unknown method 'simclrr'\. Did you mean 'simclr'"):
        describe_kwargs("simclrr")


def test_entries_come_by_family_and_name() -> None:
    found = [(entry.family, entry.name) for entry in matching(METHODS, "*")]
    assert found == sorted(found) and len(found) == len(METHODS)


def test_a_method_without_family_stands_under_others(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry("method")
    registry.add_lazy("mine", "collections:Counter", summary="something", paper="a thesis")
    monkeypatch.setattr("solo_registry.catalog.listing.METHODS", registry)
    assert method_page().endswith(
        "## Others\n\n| method | what | paper | from elsewhere |\n|---|---|---|---|\n"
        "| `mine` | something | a thesis |  |\n"
    )


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"no method matches 'zzz\*'\. Known: all4one, "):
        matching(METHODS, "zzz*")
