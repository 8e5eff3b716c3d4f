"""Turns a name, a number or any elementwise function into a temperature."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn

from solo_dyntemp.temperature.base import Temperature
from solo_dyntemp.temperature.build import build_temperature
from solo_dyntemp.temperature.pairwise import ConstantTemperature

TemperatureLike: TypeAlias = Temperature | Callable[[Tensor], Tensor] | float | str
"""What the losses take as `temperature`; see `as_temperature`."""


class FunctionTemperature(nn.Module, Temperature):
    """Any elementwise function of the similarity; its derivative comes from autograd.

    If the function is a module, the loss trains its parameters, with the dense kernel.

    Args:
        function: maps similarities in [-1, 1] to positive temperatures of the same shape.

    Raises:
        ValueError: the function returns another shape, or a value that is not positive and finite.

    >>> halves = FunctionTemperature(lambda s: 0.1 + 0.1 * s.square())
    >>> halves(torch.tensor([0.0, 1.0])), halves.derivative(torch.tensor([0.0, 1.0]))
    (tensor([0.1000, 0.2000]), tensor([0.0000, 0.2000]))
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        parameter = next(function.parameters(), None) if isinstance(function, nn.Module) else None
        # only autograd reaches the parameters of a module
        self.elementwise = parameter is None  # type: ignore[misc]
        device = None if parameter is None else parameter.device
        with torch.no_grad():
            s = torch.linspace(-1, 1, 2_001, device=device)
            tau = function(s)
        if tau.shape != s.shape:
            raise ValueError(
                f"temperature must keep the shape {tuple(s.shape)}, got {tuple(tau.shape)}"
            )
        self.tau_min, self.tau_max = float(tau.min()), float(tau.max())
        if not (self.tau_min > 0 and self.tau_max < float("inf")):
            raise ValueError(
                f"temperature must be positive and finite on [-1, 1], got values from "
                f"{self.tau_min} to {self.tau_max}"
            )

    def __repr__(self) -> str:
        return f"FunctionTemperature({self.function!r})"

    def forward(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        tau = self.function(s)
        return tau if out is None else out.copy_(tau)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds."""
        with torch.enable_grad():
            leaf = s.detach().requires_grad_()
            tau = self.function(leaf)
            slope = torch.zeros_like(s)
            if tau.requires_grad:
                (slope,) = torch.autograd.grad(tau.sum(), leaf)
        return slope if out is None else out.copy_(slope)


def as_temperature(value: TemperatureLike, *, kept: bool = False) -> Temperature:
    """Return `value` as a temperature.

    Args:
        value: a temperature; a name that `build_temperature` knows, for its defaults; a number for
            a constant; or an elementwise function, which is wrapped.
        kept: the caller keeps the result, so a name may stand for a temperature with a state.

    Raises:
        ValueError: `value` is none of these, a temperature is not positive and finite, or a name
            stands for a temperature whose state would be lost.

    >>> as_temperature(0.2), as_temperature("cosine")
    (ConstantTemperature(tau=0.2), CosineTemperature(tau_min=0.1, tau_max=0.2))
    """
    if isinstance(value, Temperature):
        return value
    if isinstance(value, str):
        if kept:
            return build_temperature(value)
        return _stateless(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return ConstantTemperature(float(value))
    if callable(value):
        return FunctionTemperature(value)
    raise ValueError(
        f"temperature must be a Temperature, its name, a function or a number, got {value!r}"
    )


@lru_cache
def _stateless(name: str) -> Temperature:
    temperature = build_temperature(name)
    if isinstance(temperature, nn.Module):
        raise ValueError(
            f"temperature={name!r} has a state that a function cannot keep; use the loss's class, "
            f"or pass build_temperature({name!r}) and keep it"
        )
    return temperature
