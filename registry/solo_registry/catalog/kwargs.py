"""What a method declares of its `method_kwargs`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from solo_registry.catalog.declared import COUNT, SHARE, TAU, WIDTH, Declared

__all__ = ["COUNT", "SHARE", "TAU", "WIDTH", "Kwarg", "declared_kwargs", "default_kwargs"]

Kwarg = Declared  # the name under which methods, ours and other packages', declare a key


def declared_kwargs(method: type) -> dict[str, Kwarg]:
    """Return the declaration of each key of a method's `method_kwargs`.

    `KWARGS` of the class holds the keys. A value that is no `Kwarg` is a default: of the key that a
    base class declares, or else of a new key that takes any finite value of the default's type.

    >>> class SimCLR:
    ...     KWARGS = {"temperature": Kwarg(0.2, "Divides the similarities.", above=0)}
    >>> class Variant(SimCLR):
    ...     KWARGS = {**SimCLR.KWARGS, "temperature": 0.5, "weight": 1.0}
    >>> found = declared_kwargs(Variant)
    >>> found["temperature"].default, found["temperature"].allowed, found["weight"].type_name
    (0.5, 'above 0', 'number')
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
