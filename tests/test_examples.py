"""The files of examples/ run as they stand, and what they show holds."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_plain_simclr_learns_in_two_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "simclr_dyntemp.py"))
    untrained, trained = example["main"](epochs=2)
    assert trained > untrained + 3
    assert "epoch 2/2" in capsys.readouterr().out


def test_examples_need_the_losses_alone() -> None:
    for path in (ROOT / "examples").glob("*.py"):
        assert "solo_registry" not in path.read_text(encoding="utf-8")
