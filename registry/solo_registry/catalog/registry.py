"""Names for methods, losses, temperatures, backbones and data sets.

An entry is an object, or the text `module:attribute` that `Registry.get` imports on its first call.
So listing a registry never imports torch.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from solo_registry.errors import UserError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One registered name: where its object is, and what listings say about it.

    Attributes:
        name: as users write it.
        target: `module:attribute`.
        summary: a few words.
        paper: its source.
        family: the group that listings put it in.
        origin: what is not written here, such as "solo-learn keys, lightly loss".
        source: package whose code it is, if the target only adapts it.
        unread: for a data set, the keys of the section `data` that it does not use, separated by
            blanks. Setting such a key is an error; for `key=value`, setting it to that value.
    """

    name: str
    target: str
    summary: str = ""
    paper: str = ""
    family: str = ""
    origin: str = ""
    source: str = ""
    unread: str = ""

    @property
    def provider(self) -> str:
        """Top-level package that brought the entry."""
        return self.source or self.target.partition(":")[0].partition(".")[0]

    def load(self) -> Any:
        """Import the target."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Registry:
    """A table from names to classes or functions of one kind.

    Args:
        kind: what is registered, for error texts: "method", "loss", ...

    >>> SHAPES = Registry("shape")
    >>> SHAPES.add_lazy("counter", "collections:Counter", summary="counts")
    >>> SHAPES.get("counter").__name__
    'Counter'
    >>> SHAPES.names("c*")
    ['counter']
    >>> SHAPES.get("countr")
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: unknown shape 'countr'. Did you mean 'counter'? Known: counter
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self._loaded: dict[str, Any] = {}
        self._absent: dict[str, str] = {}

    def register(self, name: str, **about: str) -> Callable[[T], T]:
        """Return a decorator that registers a class or function; `about` as in `add_lazy`."""

        def decorate(target: T) -> T:
            where = f"{target.__module__}:{target.__qualname__}"  # type: ignore[attr-defined]
            self.add_lazy(name, where, **about)
            self._loaded[name] = target
            return target

        return decorate

    def add_lazy(self, name: str, target: str, **about: str) -> None:
        """Register `module:attribute` under `name` without importing it.

        Args:
            name: as users write it.
            target: `module:attribute`.
            **about: `summary`, `paper`, `family`, `origin`, `source`, `unread`, see `Entry`.

        Raises:
            ValueError: the name is taken by another target; the message names both.
        """
        known = self._entries.get(name)
        if known and known.target != target:
            raise ValueError(
                f"{self.kind} '{name}' is registered twice: by {known.target} and by {target}"
            )
        if not known:
            self._entries[name] = Entry(name, target, **about)

    def add_absent(self, name: str, reason: str) -> None:
        """Give the error for `name` a reason, such as a package that is not installed."""
        self._absent[name] = reason

    def get(self, name: str) -> Any:
        """Return what is registered under `name`.

        Raises:
            UserError: the name is unknown; the message holds the nearest and all known names.
        """
        if name not in self._loaded:
            if name not in self._entries:
                if name in self._absent:
                    raise UserError(f"{self.kind} '{name}' {self._absent[name]}")
                raise UserError(
                    f"unknown {self.kind} '{name}'.{nearest(name, self._entries)} "
                    f"Known: {', '.join(self.names())}"
                )
            self._loaded[name] = self._entries[name].load()
        return self._loaded[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names that match a shell pattern such as `sim*`."""
        return sorted(fnmatch.filter(self._entries, pattern))

    def entries(self, pattern: str = "*") -> list[Entry]:
        """Return the entries whose names match, sorted by name; imports nothing."""
        return [self._entries[name] for name in self.names(pattern)]

    def about(self, name: str) -> Entry:
        """Return the entry of `name`, which must be registered."""
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries)


METHODS = Registry("method")
# Listed and tested only: each loss has arguments of its own, so a method calls its loss directly.
LOSSES = Registry("loss")
TEMPERATURES = Registry("temperature")
BACKBONES = Registry("backbone")
DATASETS = Registry("data set")
COMMANDS = Registry("command")  # functions of a list of arguments, besides the built-in commands
