"""Each temperature against its source's formula, and the page that says so.

`scripts/temperature_table.py` writes what `differences` finds into docs/temperatures.md.
"""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.names import TEMPERATURE_ENTRIES
from solo_dyntemp.temperature import build_temperature, temperature_keywords

FORMULAS = runpy.run_path(str(Path(__file__).with_name("temperature_references.py")))
N, D = FORMULAS["N"], FORMULAS["D"]
IMAGES = torch.arange(N).repeat(2)
NAMES = [name for name, *_ in TEMPERATURE_ENTRIES]
PAGE = Path(__file__).parents[2] / "docs" / "temperatures.md"
ARGUMENTS: dict[str, dict[str, Any]] = {  # other than the defaults, where these show too little
    "constant": {"tau": 0.15},
    "arctanh": {},
    "macl": {"alpha": 0.8, "a0": 0.1},
    "isogclr": {"tau": 0.2},
    "rgcl_g": {"tau": 0.2},
    "tempnet": {"dropout": 0.0, "prototypes": 7},
    "glofnd": {"alpha": 0.2, "eta": 0.3, "start": 0.0},
    "same_class": {"positives": True},
}


def product(name: str, temperature: Any) -> tuple[Tensor | None, list[Tensor]]:
    """Return what the product computes; temperatures with a state after `STEPS` batches."""
    stateful = hasattr(temperature, "average") or hasattr(temperature, "threshold")
    for step in range(FORMULAS["STEPS"] if stateful else 1):
        z = FORMULAS["outputs"](D + temperature.outputs, seed=step).requires_grad_()
        loss = dyntemp_infonce(z, IMAGES, temperature=temperature, implementation="dense")
    trained = [] if name == "spline" else list(getattr(temperature, "parameters", list)())
    states = [
        getattr(temperature, key)
        for key in ("average", "tau", "threshold")
        if isinstance(getattr(temperature, key, None), Tensor)
    ]
    gradient, *by_parameters = torch.autograd.grad(loss, [z, *trained])
    value = None if hasattr(temperature, "average") else loss.detach()
    return value, [gradient, *states, *by_parameters]


def differences(name: str) -> tuple[float | None, float]:
    """Return the largest differences of the loss and of gradient and state from the reference.

    The difference of a gradient is relative to its largest element. The loss is None where the
    source has an update and no value.
    """
    torch.manual_seed(0)
    needs = {"size": N, "dimension": D}
    keywords = temperature_keywords(name)
    given = {key: needs[key] for key in keywords if key in needs} | ARGUMENTS.get(name, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # inverted_cosine is not monotone at 0.1 and 0.2
        temperature: Any = build_temperature(name, **given)
    if isinstance(temperature, torch.nn.Module):
        temperature = temperature.double()
        if name == "spline":
            torch.nn.init.normal_(temperature.shape)
    temperature.use_labels(torch.tensor(FORMULAS["LABELS"]))
    temperature.set_progress(FORMULAS["PROGRESS"])
    expected_loss, expected = FORMULAS["REFERENCES"][name](temperature)
    loss, found = product(name, temperature)
    worst = max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)
    )
    if loss is None or expected_loss is None:
        return None, worst
    return float((loss - expected_loss).abs()), worst


def test_every_temperature_has_a_reference() -> None:
    assert sorted(FORMULAS["REFERENCES"]) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_are_those_of_the_source(name: str) -> None:
    loss, gradient = differences(name)
    assert gradient <= 1e-6
    assert loss is None or loss <= 1e-6


def test_the_page_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", PAGE.read_text(encoding="utf-8"), re.M)
    assert rows[: len(NAMES)] == NAMES
