"""Builds a temperature from its name: one of ours, or one that another package registers.

Ours are found without the registry, so that the losses import nothing but torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from solo_dyntemp.names import TEMPERATURE_ENTRIES
from solo_dyntemp.temperature.base import Temperature

OURS = {name: cls for name, cls, *_ in TEMPERATURE_ENTRIES}


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
            from solo_registry.errors import nearest

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


def temperature_outputs(name: str) -> int:
    """Return how many outputs of the head, besides the embedding, the temperature `name` reads.

    Raises:
        ValueError: the name is unknown; the message suggests the nearest.

    >>> temperature_outputs("uncertainty"), temperature_outputs("cosine")
    (1, 0)
    """
    return int(getattr(_find(name), "outputs", 0))


def _find(name: str) -> Callable[..., Any]:
    """Return our class of this name, or what another package has registered under it."""
    if name in OURS:
        module = importlib.import_module("solo_dyntemp.temperature")
        ours: Callable[..., Any] = getattr(module, OURS[name])
        return ours
    from solo_registry.catalog.plugins import load_plugins
    from solo_registry.catalog.registry import TEMPERATURES

    if name not in TEMPERATURES:
        load_plugins()
    found: Callable[..., Any] = TEMPERATURES.get(name)
    return found
