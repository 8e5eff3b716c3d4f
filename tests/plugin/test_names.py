"""The names of temperatures: ours, and what another package adds to the registry."""

from __future__ import annotations

import pytest

from solo_dyntemp.temperature import (
    ConstantTemperature,
    build_temperature,
    temperature_keywords,
)
from solo_registry.catalog.registry import TEMPERATURES


class Steep(ConstantTemperature):
    """What another package may register."""


def test_names_are_the_registrys_and_other_packages_add_to_them(monkeypatch):
    for kept in ("_entries", "_loaded"):  # forget afterwards
        monkeypatch.setattr(TEMPERATURES, kept, dict(getattr(TEMPERATURES, kept)))
    TEMPERATURES.register("steep", summary="for a test")(Steep)
    assert type(build_temperature("steep", tau=0.3)) is Steep
    assert temperature_keywords("steep") == ("tau",)
    TEMPERATURES.register("no_temperature")(lambda tau=0.1: tau)
    with pytest.raises(ValueError, match=r"'no_temperature' is registered as .* returns 0\.1"):
        build_temperature("no_temperature")
