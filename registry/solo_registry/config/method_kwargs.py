"""Filling in and checking `method_kwargs`, the keys that belong to one method."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.config.hints import unknown_kwarg


def fill_method_kwargs(
    cfg: DictConfig, known: Mapping[str, Kwarg], unused: Collection[str] = ()
) -> None:
    """Check `cfg.method_kwargs` and give every key that it lacks its default; idempotent.

    Args:
        cfg: the config; its `method_kwargs` are replaced.
        known: the declaration of each key that the method has.
        unused: keys that are dropped with a warning.

    Raises:
        UserError: a key that the method does not know, or a value that its key does not take.

    >>> cfg = OmegaConf.create({"method": "simclr", "method_kwargs": {"temperature": 0.3}})
    >>> fill_method_kwargs(cfg, {"temperature": Kwarg(0.2), "proj_output_dim": Kwarg(128)})
    >>> cfg.method_kwargs
    {'temperature': 0.3, 'proj_output_dim': 128}
    """
    node = OmegaConf.select(cfg, "method_kwargs")
    given: Any = {} if node is None else OmegaConf.to_container(node, resolve=True)
    for key in [key for key in given if key in unused]:
        warnings.warn(f"method_kwargs.{key} is not used by method '{cfg.method}'", stacklevel=2)
        del given[key]
    for key, value in given.items():
        if key not in known:
            raise unknown_kwarg(str(key), cfg.method, known)
        known[key].check(f"method_kwargs.{key}", value)
    with open_dict(cfg):
        cfg.method_kwargs = {**{key: kwarg.default for key, kwarg in known.items()}, **given}
