"""From a name and keywords, as they stand in a configuration, to a temperature."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from solo_dyntemp.temperature import adaptive, controls, isogclr, pairwise, schedules
from solo_dyntemp.temperature.base import Temperature

TEMPERATURES: dict[str, type[Temperature]] = {
    "constant": pairwise.ConstantTemperature,
    "cosine": pairwise.CosineTemperature,
    "shifted_cosine": pairwise.ShiftedCosineTemperature,
    "linear": pairwise.LinearTemperature,
    "exponential": pairwise.ExponentialTemperature,
    "monotone_cosine": pairwise.MonotoneCosineTemperature,
    "inverted_cosine": pairwise.InvertedCosineTemperature,
    "dual_constant": controls.DualConstantTemperature,
    "shuffled": controls.ShuffledTemperature,
    "cosine_schedule": schedules.CosineScheduleTemperature,
    "stabilised": schedules.StabilisedTemperature,
    "macl": adaptive.MACLTemperature,
    "dual_temperature": adaptive.DualTemperature,
    "learnable": adaptive.LearnableTemperature,
    "isogclr": isogclr.ISogCLRTemperature,
}


def build_temperature(name: str, **kwargs: Any) -> Temperature:
    """Return the temperature `name`, built with the keyword arguments.

    Raises:
        ValueError: the name or a keyword is unknown (the text holds the nearest right one), a
            keyword is missing, or a value is outside its range.

    >>> build_temperature("cosine", tau_min=0.1, tau_max=0.2)
    CosineTemperature(tau_min=0.1, tau_max=0.2)
    >>> build_temperature("cosine", tau_mim=0.1)
    Traceback (most recent call last):
        ...
    ValueError: temperature 'cosine' has no keyword 'tau_mim'; did you mean 'tau_min'? It has: \
tau_min, tau_max
    """
    parameters = _parameters(name)
    for keyword in kwargs:
        if keyword not in parameters:
            raise ValueError(
                f"temperature {name!r} has no keyword {keyword!r}; "
                f"{_nearest(keyword, parameters)} It has: {', '.join(parameters)}"
            )
    for keyword, parameter in parameters.items():
        if parameter.default is parameter.empty and keyword not in kwargs:
            raise ValueError(f"temperature {name!r} needs the keyword {keyword!r}")
    return TEMPERATURES[name](**kwargs)


def temperature_keywords(name: str) -> tuple[str, ...]:
    """Return the keywords that the temperature `name` takes.

    Raises:
        ValueError: the name is unknown; the text holds the nearest right one.

    >>> temperature_keywords("macl")
    ('tau', 'alpha', 'a0', 'tau_min')
    """
    return tuple(_parameters(name))


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    if name not in TEMPERATURES:
        raise ValueError(
            f"unknown temperature {name!r}; {_nearest(name, TEMPERATURES)} Known: "
            f"{', '.join(sorted(TEMPERATURES))}"
        )
    return inspect.signature(TEMPERATURES[name]).parameters


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.0)
    return f"did you mean {close[0]!r}?" if close else ""
