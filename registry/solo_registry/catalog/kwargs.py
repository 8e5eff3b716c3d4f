"""What a method declares of its `method_kwargs`: default, type, bound and help of each key."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from solo_registry.errors import UserError, nearest


@dataclass(frozen=True)
class Kwarg:
    """One key of `method_kwargs`. A number is always finite, whatever its bound.

    Attributes:
        default: the value of a run that does not give the key.
        help: one line in plain English, which listings print.
        kind: the type of a value; None is the default's. A `float` may be given as an int.
        above: a number must be larger than this.
        least: a number must be this or larger.
        below: a number must be smaller than this.
        most: a number must be this or smaller.
        choices: the only values; empty where any value of the type will do.
        null: whether null is a value too; always so where it is the default.

    >>> share = Kwarg(0.5, "Share of hidden patches.", above=0, below=1)
    >>> share.bound, share.type_name
    ('above 0 and below 1', 'float')
    >>> share.check("method_kwargs.mask_ratio", 1)
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: method_kwargs.mask_ratio must be above 0 and below 1, got 1
    """

    default: Any
    help: str = ""
    kind: type | None = None
    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    null: bool = False

    @property
    def value_type(self) -> type | None:
        """Type of a value; None where nothing is known of it."""
        if self.kind is None and self.default is not None:
            return type(self.default)
        return self.kind

    @property
    def takes_null(self) -> bool:
        """Whether null is a value."""
        return self.null or self.default is None

    @property
    def type_name(self) -> str:
        """The type as listings print it, such as "int or null"."""
        if self.value_type is None:
            return "any"
        return self.value_type.__name__ + (" or null" if self.takes_null else "")

    @property
    def bound(self) -> str:
        """Which values of the type are allowed, in words; empty where all of them are."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = (
            (self.above, "above {}"),
            (self.least, "{} or more"),
            (self.below, "below {}"),
            (self.most, "at most {}"),
        )
        return " and ".join(text.format(limit) for limit, text in words if limit is not None)

    def check(self, key: str, value: Any) -> None:
        """Refuse a value of another type or outside the bound.

        Args:
            key: how the error names it, such as "method_kwargs.temperature".
            value: as given.

        Raises:
            UserError: with the key, the value and what is allowed.
        """
        kind = self.value_type
        if kind is None or (value is None and self.takes_null):
            return
        kinds: tuple[type, ...] = (float, int) if kind is float else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{key} must be of type {kind.__name__}, got {value!r}")
        if self.choices and value not in self.choices:
            raise UserError(f"{key} must be {self.bound}, got {value!r}.{self._hint(value)}")
        if kind in (int, float) and not self._holds(value):
            upper = self.below if self.below is not None else self.most
            wanted = [self.bound] if self.bound else []
            wanted += ["finite"] if upper is None else []
            raise UserError(f"{key} must be {' and '.join(wanted)}, got {value!r}")

    def _hint(self, value: Any) -> str:
        return nearest(str(value), self.choices)

    def _holds(self, value: Any) -> bool:
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )


def declared_kwargs(method: type) -> dict[str, Kwarg]:
    """Return the declaration of each key of a method's `method_kwargs`.

    `KWARGS` of the class holds the keys. A value that is no `Kwarg` is a default: of the key that a
    base class declares, or else of a new key that takes any finite value of the default's type.

    >>> class SimCLR:
    ...     KWARGS = {"temperature": Kwarg(0.2, "Divides the similarities.", above=0)}
    >>> class Variant(SimCLR):
    ...     KWARGS = {**SimCLR.KWARGS, "temperature": 0.5, "weight": 1.0}
    >>> found = declared_kwargs(Variant)
    >>> found["temperature"].default, found["temperature"].bound, found["weight"].type_name
    (0.5, 'above 0', 'float')
    """
    found: dict[str, Kwarg] = {}
    for cls in reversed(method.__mro__):
        for key, value in vars(cls).get("KWARGS", {}).items():
            if isinstance(value, Kwarg):
                found[key] = value
            else:
                found[key] = replace(found.get(key, Kwarg(value)), default=value)
    return {key: found[key] for key in getattr(method, "KWARGS", {})}


def default_kwargs(method: type) -> dict[str, Any]:
    """Return a method's `method_kwargs` as they are when none is given."""
    return {key: kwarg.default for key, kwarg in declared_kwargs(method).items()}
