"""How far temperatures reach, against their own bounds and the papers' formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from solo_dyntemp.methods.reach import reach
from solo_dyntemp.names import TEMPERATURE_ENTRIES
from solo_dyntemp.temperature import build_temperature, temperature_keywords
from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve

RANGED = [name for name, *_ in TEMPERATURE_ENTRIES
          if {"tau_min", "tau_max"} <= {*temperature_keywords(name)}
          and not {"tau", "size"} & {*temperature_keywords(name)}]  # fmt: skip


@pytest.mark.parametrize("name", RANGED)
def test_a_range_of_two_bounds_is_reached_at_both_ends(name: str) -> None:
    assert reach(build_temperature(name, tau_min=0.1, tau_max=0.15)) == pytest.approx((0.1, 0.15))


@pytest.mark.parametrize(
    ("name", "kwargs", "expected"),
    [
        ("constant", {"tau": 0.07}, (0.07, 0.07)),
        ("dual_temperature", {"tau": 0.07, "ratio": 10.0}, (0.07, 0.07)),  # of the gradient
        ("learnable", {"tau": 0.07}, (0.07, 0.07)),
        ("isogclr", {"tau": 0.07, "size": 3}, (0.07, 0.07)),
        ("macl", {"tau": 0.1, "alpha": 2.0, "a0": 0.8}, (0.01, 0.14)),  # 0.1 (1 + 2 (A - 0.8))
    ],
)
def test_others_reach_what_their_formula_gives(
    name: str, kwargs: dict[str, float], expected: tuple[float, float]
) -> None:
    assert reach(build_temperature(name, **kwargs)) == pytest.approx(expected, rel=1e-5)


def test_a_method_states_its_range(tiny: Callable[..., DictConfig]) -> None:
    def of(method: str, *words: str) -> tuple[float, float] | None:
        cfg = resolve(tiny(method, *words))
        found: tuple[float, float] | None = METHODS.get(method).temperature_range(cfg)
        return found

    assert of("simclr", "method_kwargs.temperature=0.3") == (0.3, 0.3)
    words = ("method_kwargs.tau_min=0.1", "method_kwargs.tau_max=0.3")
    assert of("simclr_dyntemp", *words) == pytest.approx((0.1, 0.3))
    assert of("byol") is None
