"""The numbers in the loss's page are those of the code."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "loss.md"


def test_the_examples_of_the_page_run():
    outcome = doctest.testfile(str(PAGE), module_relative=False)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def test_the_pictures_of_the_page_exist():
    text = PAGE.read_text(encoding="utf-8")
    names = [part.split(")")[0] for part in text.split("](pictures/")[1:]]
    assert names
    for name in names:
        assert (PAGE.parent / "pictures" / name).is_file()
