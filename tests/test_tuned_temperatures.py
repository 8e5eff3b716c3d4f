"""scripts/tuned_temperatures.py with one epoch of training."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("tuned_temperatures")
    monkeypatch.setattr(module, "EPOCHS", {1.0: 1, 0.05: 1})
    monkeypatch.setattr(module, "OUTER_EPOCHS", 1)
    monkeypatch.setattr(module, "TRIALS", 2)
    return module


def test_the_parts_of_a_seed_share_no_image(script: Any) -> None:
    split = script.Split(3, 1.0, 1)
    assert (
        len(split.x) == 1797 - 2 * 360
        and [len(split.test[1]), len(split.held_out[1])] == [1080] * 2
    )
    counts = torch.bincount(script.Split(3, 0.05, 1).y)
    assert counts[9] == round(0.05 * int(counts[0])) and (counts.diff() <= 0).all()


def test_a_curve_goes_through_its_values(script: Any) -> None:
    """Nearly: a cubic spline rounds the corners of log tau between them."""
    values = [0.1, 0.15, 0.2, 0.3, 0.4]
    tau = script.curve(values)(100)(torch.tensor(script.AT))
    assert torch.allclose(tau.log(), torch.tensor(values).log(), atol=0.1)
    flat = script.curve([0.2] * 5)(100)(torch.linspace(-1, 1, 7))
    assert torch.allclose(flat, torch.tensor(0.2), atol=1e-6)


ORACLES = {"fixed", "same_class", "glofnd, oracle"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "names"),
    [
        pytest.param(["oracles"], ORACLES, marks=pytest.mark.nightly),
        (["oracles", "--tail=0.05"], ORACLES | {"class_frequency", "mm_ts"}),
        (["outer"], {"fixed", "outer loop", "trained by the loss"}),
    ],
)
def test_a_seed_is_a_row_and_seeds_are_added(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], names: set[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "rows.json"
    for seeds in (1, 2):
        monkeypatch.setattr("sys.argv", ["x", *words, f"--seeds={seeds}", f"--out={out}"])
        script.main()
    rows = json.loads(out.read_text())
    assert len(rows) == 2 and set(rows[0]) == set(rows[1]) == names
    for row in rows:
        for found in row.values():
            assert all(10 < found[key] <= 100 for key in ("held out", "anew", "test"))
    assert rows[0] != rows[1] and "detectable" in capsys.readouterr().out
