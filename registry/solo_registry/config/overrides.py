"""Overrides, the KEY=VALUE words of a command line."""

from __future__ import annotations

from collections.abc import Iterable

from solo_registry.errors import UserError


def key_of(word: str) -> str:
    """Return the key of KEY=VALUE.

    >>> key_of("++method_kwargs.tau_min=0.1")
    'method_kwargs.tau_min'
    """
    return word.partition("=")[0].lstrip("+~")


def pair(word: str, example: str) -> tuple[str, str]:
    """Return key and value of KEY=VALUE.

    Raises:
        UserError: the word is no such thing.

    >>> pair("seeds=5", "seeds=3")
    ('seeds', '5')
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UserError(f"cannot read '{word}': write KEY=VALUE, such as {example}")
    return key, value


def short(word: str) -> str:
    """Return a word with the last part of its key only.

    >>> short("method_kwargs.tau_min=0.1")
    'tau_min=0.1'
    """
    key, equals, value = word.partition("=")
    return f"{key.rpartition('.')[2]}{equals}{value}"


def unique(words: Iterable[str]) -> list[str]:
    """Keep the last word of each key, in the order of first mention.

    >>> unique(["data=digits", "seed=1", "data=cifar10"])
    ['data=cifar10', 'seed=1']
    """
    return list({key_of(word): word for word in words}.values())
