"""The paper's tau(s) as one line of Python, made from the formula of `CosineTemperature`."""

from __future__ import annotations

import re
from dataclasses import fields

import torch

from solo_dyntemp.names import DYSTRESS
from solo_dyntemp.temperature import CosineTemperature

STATED = re.compile(r"τ\(s\) = (.+)\.$", re.MULTILINE)
# the notation of the docstring -> Python
NOTATION = (
    ("τ_", "tau_"),
    ("½ ", "0.5 * "),
    (") (", ") * ("),
    ("cos(π ", "torch.cos(torch.pi * "),
)


def python_formula(similarity: str) -> str:
    """Return tau(s) as an expression of `tau_min`, `tau_max` and the variable `similarity`.

    Raises:
        RuntimeError: its values are not those of `CosineTemperature`, so nothing may be written.

    >>> python_formula("sim")
    'tau_min + 0.5 * (tau_max - tau_min) * (1 + torch.cos(torch.pi * (1 + sim)))'
    """
    found = STATED.search(CosineTemperature.__doc__ or "")
    text = found[1] if found else "(none)"
    for notation, python in NOTATION:
        text = text.replace(notation, python)
    text = re.sub(r"\bs\b", similarity, text)
    s = torch.linspace(-1, 1, 201, dtype=torch.float64)
    ours = CosineTemperature(0.07, 0.3)
    names = {"torch": torch, "tau_min": 0.07, "tau_max": 0.3, similarity: s}
    try:
        values = eval(text, names)  # a text of this package's own
    except (NameError, SyntaxError) as error:
        raise RuntimeError(f"the docstring of CosineTemperature is no Python: {text}") from error
    if not torch.allclose(values, ours(s), rtol=0, atol=1e-9):
        raise RuntimeError(f"CosineTemperature computes other values than its docstring: {text}")
    return text


def filled(template: str) -> str:
    """Return a template with our formula, its default range and the paper's address."""
    default = {field.name: field.default for field in fields(CosineTemperature)}
    text = template.replace("PAPER", f"https://arxiv.org/abs/{DYSTRESS}")
    for name in ("tau_min", "tau_max"):
        text = re.sub(rf"\b{name.upper()}\b", str(default[name]), text)
    return re.sub(r"FORMULA\((\w+)\)", lambda found: python_formula(found[1]), text)
