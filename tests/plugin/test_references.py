"""Each temperature against its source's formula, and the page that says so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = runpy.run_path(str(Path(__file__).with_name("temperature_references.py")))
PAGE = (ROOT / "docs" / "temperatures.md").read_text(encoding="utf-8")


def test_every_temperature_has_a_reference() -> None:
    assert sorted(MODULE["REFERENCES"]) == sorted(MODULE["NAMES"])


@pytest.mark.parametrize("name", MODULE["NAMES"])
def test_loss_and_gradient_are_those_of_the_source(name: str) -> None:
    loss, gradient = MODULE["differences"](name)
    assert gradient <= 1e-6
    assert loss is None or loss <= 1e-6


def test_the_page_has_a_row_for_each() -> None:
    assert re.findall(r"^\| `(\w+)` \| ", PAGE, re.M)[: len(MODULE["NAMES"])] == MODULE["NAMES"]
