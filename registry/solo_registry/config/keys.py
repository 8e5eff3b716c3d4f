"""Config keys: a section is a dataclass, and a key is a field of it made by `key`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import MISSING

from solo_registry.catalog.declared import Declared
from solo_registry.config.settings import setting


def key(default: Any, help: str, **declared: Any) -> Any:
    """Return the field of a dataclass that is a config key.

    Args:
        default: its default; a type, such as a section's, is called for it.
        help: one line of at most 100 characters.
        **declared: the other attributes of `Declared`; the field's annotation gives the type.
    """
    made = default() if isinstance(default, type) else default
    metadata = {"key": Declared(made, help, **declared)}
    if isinstance(made, list | dict) or is_dataclass(made):
        return field(default_factory=functools.partial(copy, made), metadata=metadata)
    return field(default=made, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """A key or a section of the schema.

    Attributes:
        name: with dots, such as `optimizer.lr`.
        section: the dataclass, where it is a section, or a list or dict of such.
        declared: what its field says; of a section without `key` the docstring is the help.
    """

    name: str
    section: Any
    declared: Declared

    @property
    def help(self) -> str:
        """What `--help` says of it."""
        return self.declared.help

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return bool(self.declared.default == MISSING)


@functools.cache
def keys_of(schema: Any) -> tuple[Key, ...]:
    """Return the keys and sections of one dataclass, not those inside its sections."""
    hints = get_type_hints(schema)
    found = []
    for item in fields(schema):
        hint = hints[item.name]
        null = NoneType in get_args(hint)
        kind = next(part for part in get_args(hint) if part is not NoneType) if null else hint
        section = next(filter(is_dataclass, (kind, *get_args(kind))), None)
        about = str(section.__doc__).partition("\n")[0]
        declared = item.metadata.get("key") or Declared(section, about)
        found.append(Key(item.name, section, replace(declared, kind=kind, null=null)))
    return tuple(found)


def all_keys(schema: Any, prefix: str = "") -> list[Key]:
    """Return every key and section of a schema, each section before its keys."""
    found = []
    for item in keys_of(schema):
        found.append(replace(item, name=prefix + item.name))
        if item.section is not None:
            found += all_keys(item.section, f"{prefix}{item.name}.")
    return found


def check_keys(node: Any, schema: Any, prefix: str = "") -> None:
    """Refuse values of a section that its schema does not allow.

    Args:
        node: the section, as OmegaConf's node or as an object of the dataclass.
        schema: its dataclass.
        prefix: the section's name and a dot, for error texts.

    Raises:
        UserError: the first such value.
    """
    for item in keys_of(schema):
        name, value = prefix + item.name, getattr(node, item.name)
        if item.section is None:
            item.declared.check(name, value)
            continue
        for part, inner in _parts(value, get_origin(item.declared.kind)):
            check_keys(inner, item.section, f"{name}{part}.")


def check_sections(node: Any, schema: Any, prefix: str = "") -> None:
    """Refuse a section that is none, and a key that is one; OmegaConf would not name them.

    Args:
        node: a section's dict, which may be partial.
        schema: its dataclass.
        prefix: the section's name and a dot, for error texts.

    Raises:
        UserError: the first of them.
    """
    for item in keys_of(schema):
        if item.name not in node:
            continue
        name, value = prefix + item.name, node[item.name]
        if item.section is not None and not _refers(value):
            container = get_origin(item.declared.kind)
            kind = list[dict[str, Any]] if container is list else dict
            Declared({}, kind=kind).check(name, value)
            for part, inner in _parts(value, container):
                check_sections(inner, item.section, f"{name}{part}.")
        elif isinstance(value, Mapping) or (_is_dict(item) and not _refers(value)):
            item.declared.check(name, value)


def _is_dict(item: Key) -> bool:
    """Whether a key takes any keys below it."""
    return (get_origin(item.declared.kind) or item.declared.kind) is dict


def _refers(value: Any) -> bool:
    """Whether a value stands for another key's, which may be a section."""
    return isinstance(value, str) and value.startswith("${")


def _parts(value: Any, container: Any) -> Iterator[tuple[str, Any]]:
    """Yield the sections of a value with their names: a section, a list or a dict of such."""
    if container is None:
        yield "", value
    else:
        named = enumerate(value) if container is list else value.items()
        yield from ((f".{name}", part) for name, part in named)


def check_given(node: Any, schema: Any, prefix: str, *names: str) -> None:
    """Refuse values of some keys of a section that may be partial; see `check_keys`."""
    for item in keys_of(schema):
        if item.name in names and (value := setting(node, item.name, None)) is not None:
            item.declared.check(prefix + item.name, value)
