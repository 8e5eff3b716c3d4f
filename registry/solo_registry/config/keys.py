"""What a config key declares beside its default: its help, its bounds, its choices; and the check.

A section is a dataclass, a key is a field of it made by `key`. Error texts, `--help` and
docs/config.md are made of these declarations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING as ABSENT
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING as REQUIRED
from omegaconf import DictConfig, ListConfig

from solo_registry.config.settings import setting
from solo_registry.errors import UserError, nearest

LIMIT = 2**31 - 1  # the size of every number that has no narrower bound
TYPES = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Any: "any",
    dict: "keys",
}


def spell(value: Any) -> str:
    """Write a value as YAML does.

    >>> spell(None), spell(True), spell([1, 2]), spell({"a": 1e-4})
    ('null', 'true', '[1, 2]', '{a: 0.0001}')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict | DictConfig):
        entries: dict[str, Any] = dict(value)
        return f"{{{', '.join(f'{key}: {spell(item)}' for key, item in entries.items())}}}"
    if isinstance(value, list | tuple | ListConfig):
        return f"[{', '.join(map(spell, value))}]"
    return str(value)


@dataclass(frozen=True)
class Declared:
    """What the field of a key says about it.

    Attributes:
        help: one line; starts with "Ours" where solo-learn has no such key or section.
        choices: the values that are allowed; empty is any.
        least: the smallest number allowed.
        above: the number that the value must exceed.
        most: the largest number allowed.
        below: the number that the value must not reach.
        also: numbers outside of the bounds that are allowed, and what they mean.
        derived: whether `resolve` or the data set the key, and nobody else.
    """

    help: str
    choices: tuple[Any, ...] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    also: Mapping[float, str] = field(default_factory=dict)
    derived: bool = False

    def admits(self, number: float) -> bool:
        """Whether a number is within the bounds; NaN is not."""
        if number in self.also:
            return True
        low = -LIMIT if self.least is None else self.least
        high = LIMIT if self.most is None else self.most
        return (
            low <= number <= high
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def range(self, whole: bool) -> str:
        """Write the bounds; `whole` is for integers.

        >>> Declared("", least=0, below=1).range(whole=False)
        'in [0, 1)'
        >>> Declared("", least=1).range(whole=True), Declared("", above=0).range(whole=False)
        ('at least 1', 'above 0')
        >>> Declared("", above=0, most=1, also={-1: "all"}).range(whole=False)
        'in (0, 1], or -1 (all)'
        """
        low = self.least if self.above is None else self.above
        high = self.most if self.below is None else self.below
        if low is None and high is None:
            return ""
        if high is None:
            text = f"{low} or more" if low == 0 else f"at least {low}"
            text = text if self.above is None else f"above {low}"
        elif low is None:
            text = f"at most {high}" if self.below is None else f"below {high}"
        elif whole:
            text = f"from {low} to {high}"
        else:
            left, right = "[" if self.above is None else "(", "]" if self.below is None else ")"
            text = f"in {left}{low}, {high}{right}"
        return text + "".join(f", or {value} ({means})" for value, means in self.also.items())


def key(default: Any, help: str, **declared: Any) -> Any:
    """Return the field of a dataclass that is a config key.

    Args:
        default: its default; a type, such as `dict`, is called for it.
        help: one line of at most 100 characters without a full stop.
        **declared: the other attributes of `Declared`.
    """
    metadata = {"key": Declared(help, **declared)}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Key:
    """A key or a section of the schema.

    Attributes:
        name: with dots, such as `optimizer.lr`.
        hint: its type.
        default: its default; None for sections.
        section: the dataclass, where it is a section or a list of such.
        declared: what its field says; None for sections that say it by their docstring.
    """

    name: str
    hint: Any
    default: Any
    section: Any
    declared: Declared | None

    @property
    def nullable(self) -> bool:
        """Whether null is a value of it."""
        return type(None) in get_args(self.hint)

    @property
    def kind(self) -> str:
        """The type in words."""
        return _kind(self.hint) + (" or null" if self.nullable else "")

    @property
    def whole(self) -> bool:
        """Whether its numbers are integers."""
        return self.kind.startswith("integer")

    @property
    def help(self) -> str:
        """What `--help` says of it."""
        if self.declared is None:
            return str(self.section.__doc__).partition("\n")[0].removesuffix(".")
        return self.declared.help

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return bool(self.default == REQUIRED)

    def allowed(self) -> str:
        """Write which values are allowed beyond the type; "" where the type says it all."""
        if self.declared is None:
            return ""
        if self.declared.derived:
            return "derived"
        return ", ".join(self.choices()) or self.declared.range(self.whole)

    def choices(self) -> list[str]:
        """Write the choices, null among them where it is one; none where any value is allowed."""
        if self.declared is None or not self.declared.choices:
            return []
        return [*map(spell, self.declared.choices), *(["null"] if self.nullable else [])]

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is none of the choices, or a number outside of the bounds.

        Args:
            name: as the user knows the key.
            value: null is not looked at, of a list each item is.

        Raises:
            UserError: naming the key, the value and what is allowed.
        """
        if self.declared is None or value is None:
            return
        if self.declared.choices:
            if value not in self.declared.choices:
                refuse_choice(name, value, self.choices())
            return
        for number in value if isinstance(value, list | ListConfig) else (value,):
            numeric = isinstance(number, int | float) and not isinstance(number, bool)
            if numeric and not self.declared.admits(number):
                raise UserError(f"{name} must be {self._bounds(number)}, got {number}")

    def _bounds(self, number: float) -> str:
        """Write the bounds for a number that is outside, with `LIMIT` where that is why."""
        assert self.declared is not None
        bounds = [self.declared.range(self.whole)]
        if self.declared.most is None and self.declared.below is None:
            if math.isfinite(number) and abs(number) > LIMIT:
                bounds.append(f"at most {LIMIT} in size")
            elif not self.whole:
                bounds.append("finite")
        return " and ".join(filter(None, bounds))


def _kind(hint: Any) -> str:
    """Write a type without null.

    >>> _kind(float | None), _kind(list[int])
    ('number', 'integer list')
    """
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is list:
        return f"{_kind(get_args(hint)[0])} list"
    return TYPES.get(get_origin(hint) or hint, "section")


@functools.cache
def keys_of(schema: Any) -> tuple[Key, ...]:
    """Return the keys and sections of one dataclass, not those inside its sections."""
    hints = get_type_hints(schema)
    found = []
    for item in fields(schema):
        hint = hints[item.name]
        section = next(filter(is_dataclass, (hint, *get_args(hint))), None)
        default = item.default
        if default is ABSENT:
            made = None if item.default_factory is ABSENT else item.default_factory()
            default = None if section else made
        found.append(Key(item.name, hint, default, section, item.metadata.get("key")))
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
            item.check(name, value)
        elif isinstance(value, list | ListConfig):
            for number, part in enumerate(value):
                check_keys(part, item.section, f"{name}.{number}.")
        else:
            check_keys(value, item.section, f"{name}.")


def check_given(node: Any, schema: Any, prefix: str, *names: str) -> None:
    """Refuse values of some keys of a section that may be partial; see `check_keys`."""
    for item in keys_of(schema):
        if item.name in names:
            item.check(prefix + item.name, setting(node, item.name, None))


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuse a value that is none of a key's choices."""
    if value not in choices:
        refuse_choice(name, value, choices)


def refuse_choice(name: str, value: Any, choices: Iterable[str]) -> NoReturn:
    """Raise the error for a value that is none of a key's choices."""
    raise UserError(
        f"{name} is '{value}'.{nearest(str(value), choices)} Allowed: {', '.join(choices)}"
    )
