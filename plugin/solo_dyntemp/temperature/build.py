"""Builds a temperature from the name and the keywords in a config.

The names are those of `solo_registry.catalog.registry.TEMPERATURES`: ours, and those that other
packages register.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from solo_dyntemp.names import register_temperatures
from solo_dyntemp.temperature.base import Temperature
from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import TEMPERATURES
from solo_registry.errors import nearest

register_temperatures()  # for users of the losses, who load no plugin


def build_temperature(name: str, **kwargs: Any) -> Temperature:
    """Return the temperature `name`, built with the keyword arguments.

    Raises:
        ValueError: the name or a keyword is unknown (the message suggests the nearest), a keyword
            is missing, a value is outside its range, or the function that another package
            registered under the name returns no temperature.

    >>> build_temperature("cosine", tau_min=0.1, tau_max=0.2)
    CosineTemperature(tau_min=0.1, tau_max=0.2)
    >>> build_temperature("cosine", tau_mim=0.1)
    Traceback (most recent call last):
        ...
    ValueError: temperature 'cosine' has no keyword 'tau_mim'. Did you mean 'tau_min'? It has: \
tau_min, tau_max
    """
    kind = _find(name)
    parameters = inspect.signature(kind).parameters
    for keyword in kwargs:
        if keyword not in parameters:
            raise ValueError(
                f"temperature {name!r} has no keyword {keyword!r}."
                f"{nearest(keyword, parameters)} It has: {', '.join(parameters)}"
            )
    for keyword, parameter in parameters.items():
        if parameter.default is parameter.empty and keyword not in kwargs:
            raise ValueError(f"temperature {name!r} needs the keyword {keyword!r}")
    temperature = kind(**kwargs)
    if not isinstance(temperature, Temperature):
        raise ValueError(
            f"temperature {name!r} is registered as {kind}, which returns {temperature!r}, not a "
            "solo_dyntemp.temperature.Temperature"
        )
    return temperature


def temperature_keywords(name: str) -> tuple[str, ...]:
    """Return the keywords that the temperature `name` takes.

    Raises:
        ValueError: the name is unknown; the message suggests the nearest.

    >>> temperature_keywords("macl")
    ('tau', 'alpha', 'a0', 'tau_min')
    """
    return tuple(inspect.signature(_find(name)).parameters)


def _find(name: str) -> Callable[..., Any]:
    """Return what is registered under `name`, by this package or by another one."""
    if name not in TEMPERATURES:
        load_plugins()
    found: Callable[..., Any] = TEMPERATURES.get(name)
    return found
