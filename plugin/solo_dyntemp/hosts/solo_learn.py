"""The methods inside solo-learn: bound to its base classes, put into its tables in place.

solo-learn has no plugin system; it looks methods up in `solo.methods.METHODS` and backbones in
`BaseMethod._BACKBONES`, two dictionaries that every one of its scripts shares. Importing this
module does not need solo-learn; `attach` does.
"""

from __future__ import annotations

import logging
from functools import partial
from importlib import import_module
from typing import Any

from solo_dyntemp.hosts import native
from solo_dyntemp.plugin import METHOD_ENTRIES
from solo_registry.backbones import PREFIX, build_backbone
from solo_registry.errors import UserError


def attach() -> dict[str, type]:
    """Put our methods and all timm backbones into solo-learn's tables; again changes nothing.

    A solo-learn that has a method itself, by our pull request (`dyntemp upstream-pr`), keeps its
    own; a line says so.

    Returns:
        The classes of our methods, by name.

    Raises:
        UserError: this is not the solo-learn we know, or another class has one of our names.
    """
    methods, base = _tables()
    ours = _bound(base)
    for name, cls in ours.items():
        other = methods.get(name)
        if other is None or other.__module__ == __name__:
            continue
        where = f"{other.__module__}.{other.__qualname__}"
        if other.__module__ == f"solo.methods.{name}":
            logging.getLogger(__name__).warning(
                "'%s' is solo-learn's own %s, not ours", name, where
            )
        else:
            raise UserError(
                f"solo-learn already has a method '{name}': {where}; ours is "
                f"{cls.__module__}.{cls.__qualname__}. Remove one of them"
            )
    # in place: solo-learn's scripts hold the dictionaries themselves
    for name, cls in ours.items():
        ours[name] = methods.setdefault(name, cls)
    _add_timm(base.BaseMethod._BACKBONES)
    return ours


def _tables() -> tuple[dict[str, Any], Any]:
    try:
        methods: dict[str, Any] = import_module("solo.methods").METHODS
        base = import_module("solo.methods.base")
        _ = base.BaseMomentumMethod, base.BaseMethod._BACKBONES
        _ = base.BaseMethod.add_and_assert_specific_cfg
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"solo-dyntemp knows solo-learn 1.0.6, the main of its repository, not this: {error}"
        ) from error
    return methods, base


def _bound(base: Any) -> dict[str, type]:
    """Bind each method's mixin to solo-learn's class of the same name as the one it has here."""
    bound: dict[str, type] = {}
    for name, cls, *_ in METHOD_ENTRIES:
        mixin, host = getattr(native, cls).__bases__
        about: dict[str, Any] = {"__module__": __name__, "DISTINCT": False}  # its samplers repeat
        about["__doc__"] = f"`method: {name}` in solo-learn."
        bound[name] = type(cls, (mixin, getattr(base, host.__name__)), about)
    return bound


def _add_timm(backbones: dict[str, Any]) -> None:
    import timm

    for model in timm.list_models():
        backbones.setdefault(PREFIX + model, partial(timm_backbone, PREFIX + model))


def timm_backbone(name: str, method: str, **kwargs: Any) -> Any:
    """Build `timm/<model>` as solo-learn builds a backbone.

    Args:
        name: the backbone's name.
        method: solo-learn's method name; not used.
        **kwargs: `backbone.kwargs`; `image_size` (default 224) and `in_channels` (default 3) choose
            the stem, the rest goes to timm.
    """
    size, channels = kwargs.pop("image_size", 224), kwargs.pop("in_channels", 3)
    return build_backbone(name, in_channels=channels, image_size=size, **kwargs)
