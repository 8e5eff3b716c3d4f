"""Filling in and checking `method_kwargs`, the keys that belong to one method."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from solo_registry.errors import UserError, nearest


def fill_method_kwargs(
    cfg: DictConfig, defaults: dict[str, Any], unused: Collection[str] = ()
) -> None:
    """Give every key of `defaults` that `cfg.method_kwargs` lacks its value; idempotent.

    Keys named in `unused` are dropped with a warning.

    Raises:
        UserError: a key that the method does not know, or a value of another type.

    >>> cfg = OmegaConf.create({"method": "simclr", "method_kwargs": {"temperature": 0.3}})
    >>> fill_method_kwargs(cfg, {"temperature": 0.2, "proj_output_dim": 128})
    >>> cfg.method_kwargs
    {'temperature': 0.3, 'proj_output_dim': 128}
    """
    node = OmegaConf.select(cfg, "method_kwargs")
    given: Any = {} if node is None else OmegaConf.to_container(node, resolve=True)
    for key in [key for key in given if key in unused]:
        warnings.warn(f"method_kwargs.{key} is not used by method '{cfg.method}'", stacklevel=2)
        del given[key]
    for key, value in given.items():
        if key not in defaults:
            raise UserError(
                f"method '{cfg.method}' has no method_kwargs.{key}.{nearest(str(key), defaults)} "
                f"Known: {', '.join(sorted(defaults))}"
            )
        check_type(f"method_kwargs.{key}", value, defaults[key])
    with open_dict(cfg):
        cfg.method_kwargs = {**defaults, **given}


def check_type(key: str, value: Any, default: Any) -> None:
    """Refuse a value whose type differs from the default's; an int serves as a float."""
    if default is None or value is None:
        return
    kinds: tuple[type, ...] = (float, int) if isinstance(default, float) else (type(default),)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise UserError(f"{key} must be of type {type(default).__name__}, got {value!r}")


def require_positive(cfg: DictConfig, *keys: str, or_zero: bool = False) -> None:
    """Refuse values of `method_kwargs` that are not finite and above 0, or 0 where it may be."""
    for key in keys:
        value = cfg.method_kwargs[key]
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not or_zero):
            least = "0 or more" if or_zero else "above 0"
            raise UserError(f"method_kwargs.{key} must be {least} and finite, got {value!r}")


def require_at_most_one(cfg: DictConfig, *keys: str) -> None:
    """Refuse values of `method_kwargs` above 1."""
    for key in keys:
        if (value := cfg.method_kwargs[key]) > 1:
            raise UserError(f"method_kwargs.{key} must be at most 1, got {value!r}")
