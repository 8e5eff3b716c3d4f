"""What a user may have meant: the nearest key, the method that has a key, a flag that is a key."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator
from importlib.resources import files
from typing import Any

import yaml

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.keys import all_keys
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError, nearest

MOST = 4  # keys that one message suggests
# names that other programs have for our keys
ELSEWHERE = {
    "arch": "backbone", "bs": "batch_size", "dataset": "data", "epochs": "max_epochs",
    "gpus": "devices", "image_size": "crop_size", "learning_rate": "lr", "model": "backbone",
    "path": "train_path", "tau": "temperature", "wd": "weight_decay", "workers": "num_workers",
}  # fmt: skip


def options_of(group: str) -> list[str]:
    """List what a group has in all config packages, subgroups too, which Hydra does not list.

    >>> options_of("recipe")[:2]
    ['cifar/all4one', 'cifar/barlow_twins']
    """

    def names(folder: Any, prefix: str) -> Iterator[str]:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir():
                yield from names(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                yield prefix + entry.name.removesuffix(".yaml")

    folders = [files(package).joinpath(group) for package in load_plugins()]
    return sorted(name for folder in folders for name in names(folder, ""))


def known_keys(schema: Any = PretrainConfig) -> list[str]:
    """List every key and section of the schema with dots, such as `optimizer.lr`.

    >>> "augmentations.rrc.crop_min_scale" in known_keys()
    True
    """
    return [item.name for item in all_keys(schema)]


@functools.cache
def kwargs_by_method() -> dict[str, frozenset[str]]:
    """Return the keys of `method_kwargs` by method, of the group `method`; imports no method.

    >>> sorted(kwargs_by_method()["simclr"])
    ['proj_hidden_dim', 'proj_output_dim', 'temperature']
    """
    found: dict[str, frozenset[str]] = {}
    for package in load_plugins():
        folder = files(package).joinpath("method")
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name.endswith(".yaml"):
                plain = yaml.safe_load(entry.read_text(encoding="utf-8"))
                found[entry.name.removesuffix(".yaml")] = frozenset(plain.get("method_kwargs", ()))
    return found


@functools.cache
def _by_last_part() -> dict[str, list[str]]:
    """Return the keys that can be set, by the last part of their names."""
    found: dict[str, list[str]] = {}
    for item in all_keys(PretrainConfig):
        if not item.declared.derived:
            name = item.name.replace("augmentations.", "augmentations.0.")
            found.setdefault(name.rpartition(".")[2], []).append(name)
    return found


def keys_like(key: str, method: str = "") -> list[str]:
    """Return the keys that end as `key` does, or as what other programs call it.

    Args:
        key: as the user wrote it.
        method: the run's method, whose own keys count too; without it those of any method do.

    >>> keys_like("lr"), keys_like("learning_rate"), keys_like("temperature", "simclr")
    (['optimizer.lr'], ['optimizer.lr'], ['method_kwargs.temperature'])
    """
    last = key.rpartition(".")[2]
    by_method = kwargs_by_method()
    known = by_method.get(method, frozenset[str]()) if method else frozenset().union(
        *by_method.values())  # fmt: skip
    for name in dict.fromkeys((last, ELSEWHERE.get(last, last))):
        found = [*_by_last_part().get(name, ()), *([f"method_kwargs.{name}"] * (name in known))]
        if found and len(found) <= MOST:
            return found
    return []


def unknown_key(key: str, siblings: Iterable[str] = (), method: str = "") -> UserError:
    """Return the error for a key that no config has, with the nearest right one.

    Args:
        key: as the user wrote it, with dots.
        siblings: the keys that its section does have, where they are the method's own.
        method: the run's method.
    """
    section, _, last = key.rpartition(".")
    hint = ""
    if like := keys_like(key, method):
        hint = f" Did you mean {' or '.join(repr(each) for each in like)}?"
    elif method and section in ("", "method_kwargs") and _methods_with(last, method):
        return unknown_kwarg(last, method, kwargs_by_method()[method])
    hint = hint or nearest(key, [*known_keys(), *(f"{section}.{name}" for name in siblings)])
    return UserError(f"unknown config key '{key}'.{hint} `dyntemp pretrain --help` lists the keys.")


def unknown_kwarg(key: str, method: str, known: Collection[str]) -> UserError:
    """Return the error for a key of `method_kwargs` that the method does not have."""
    hint = _methods_with(key, method) or nearest(key, known).lstrip()
    return UserError(
        f"method '{method}' has no method_kwargs.{key}. {hint + ' ' if hint else ''}"
        f"{method} has: {', '.join(sorted(known))}"
    )


def _methods_with(key: str, method: str) -> str:
    """Write which methods have a key of `method_kwargs`, the nearest of them first; "" for none."""
    names = [name for name, keys in kwargs_by_method().items() if key in keys]
    names.sort(key=lambda name: (not name.startswith(method), name))
    if not names:
        return ""
    more = f", and so have {len(names) - 1} others" if len(names) > 1 else ""
    return f"method={names[0]} has it{more}."


def no_flag(flag: str, value: str, own: Iterable[str] = ()) -> UserError | None:
    """Return the error for `--key value` in place of KEY=VALUE; None where `flag` is no key.

    Args:
        flag: what begins with dashes.
        value: what stands after it.
        own: keys of the command that no run has, such as `suite`.

    >>> print(no_flag("--method", "simclr"))
    '--method' is no flag. Settings are KEY=VALUE: method=simclr
    >>> print(no_flag("--learning-rate=0.1", ""))
    '--learning-rate' is no flag. Settings are KEY=VALUE: optimizer.lr=0.1
    """
    name, _, given = flag.partition("=")
    key = name.lstrip("-").replace("-", "_")
    keys = [key] if key in {*own, *known_keys()} else keys_like(key)
    if not key or not keys:
        return None
    value = given or ("VALUE" if not value or "=" in value or value.startswith("-") else value)
    return UserError(f"'{name}' is no flag. Settings are KEY=VALUE: {keys[0]}={value}")
