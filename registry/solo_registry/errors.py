"""Errors that a user can act on, told without a stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user asked for cannot be done; the text says what, why and what would work."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest spelling of `name`, or an empty string.

    >>> nearest("simclr_dyntmp", ["simclr", "simclr_dyntemp"])
    " Did you mean 'simclr_dyntemp'?"
    >>> nearest("zebra", ["simclr"])
    ''
    """
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
