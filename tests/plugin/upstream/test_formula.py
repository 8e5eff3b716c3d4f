"""The formula that is written into clones is that of `CosineTemperature`."""

from __future__ import annotations

import pytest
import torch

from solo_dyntemp.temperature import CosineTemperature
from solo_dyntemp.upstream.formula import filled, python_formula


def test_the_expression_has_the_values_of_our_temperature() -> None:
    s = torch.linspace(-1, 1, 201)
    values = eval(python_formula("s"), {"torch": torch, "s": s, "tau_min": 0.05, "tau_max": 0.2})
    torch.testing.assert_close(values, CosineTemperature(0.05, 0.2)(s))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "τ(s) = τ_min + 0.5 * (τ_max - τ_min) * (1 + s).",
            "computes other values than its docstring",
        ),
        ("τ(s) = τ_min plus s.", "docstring of CosineTemperature is no Python"),
        ("no formula", "is no Python: .none"),
    ],
)
def test_a_docstring_that_drifts_from_the_code_stops_the_kit(
    text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CosineTemperature, "__doc__", text)
    with pytest.raises(RuntimeError, match=reason):
        filled("FORMULA(s)")


def test_the_defaults_and_the_paper_are_ours() -> None:
    default = CosineTemperature()
    text = filled("TAU_MIN TAU_MAX PAPER")
    assert text == f"{default.tau_min} {default.tau_max} https://arxiv.org/abs/2308.01140"
