from __future__ import annotations

from typing import Any, ClassVar

import pytest

from solo_registry.catalog.kwargs import Kwarg, declared_kwargs, default_kwargs
from solo_registry.errors import UserError


class Baseline:
    KWARGS: ClassVar[dict[str, Any]] = {
        "temperature": Kwarg(0.2, "Divides the similarities.", above=0),
        "size": Kwarg(None, "Number of keys.", kind=int, above=0, null=True),
    }


class Variant(Baseline):
    """As another package writes it: plain values in place of declarations."""

    KWARGS: ClassVar[dict[str, Any]] = {**Baseline.KWARGS, "temperature": 0.5, "weight": 1.0}


class Further(Variant):
    KWARGS: ClassVar[dict[str, Any]] = {**Variant.KWARGS, "size": 64, "note": None}


def test_a_plain_value_is_a_new_default_of_what_a_base_class_declares() -> None:
    assert default_kwargs(Further) == {"temperature": 0.5, "size": 64, "weight": 1.0, "note": None}
    declared = declared_kwargs(Further)
    assert declared["temperature"] == Kwarg(0.5, "Divides the similarities.", above=0)
    assert declared["size"].type_name == "integer or null"
    assert declared["size"].allowed == "at least 1"


@pytest.mark.parametrize("value", [-3, 0.0, 2.5])
def test_a_plain_value_of_a_new_key_has_no_bound(value: float) -> None:
    declared_kwargs(Variant)["weight"].check("weight", value)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("weight", float("nan"), "weight must be finite, got nan"),
        ("weight", "much", "weight must be of type number, got 'much'"),
        ("weight", None, "weight must be of type number, got null"),
        ("temperature", 0, "temperature must be above 0 and finite, got 0"),
        ("size", 1.5, "size must be of type integer or null, got 1.5"),
    ],
)
def test_what_a_key_does_not_take_is_named(key: str, value: Any, text: str) -> None:
    with pytest.raises(UserError, match=text):
        declared_kwargs(Further)[key].check(key, value)


def test_the_nearest_choice_is_named() -> None:
    kwarg = Kwarg("auto", "Kernel.", choices=("auto", "dense", "tiled"))
    with pytest.raises(
        UserError, match=r"implementation is 'tile'\. Did you mean 'tiled'\? Allowed: a"
    ):
        kwarg.check("implementation", "tile")


def test_a_key_of_which_nothing_is_known_takes_anything() -> None:
    for value in (None, 3, "x", [1]):
        declared_kwargs(Further)["note"].check("note", value)


def test_a_class_that_declares_nothing_has_no_keys() -> None:
    assert declared_kwargs(int) == default_kwargs(int) == {}
