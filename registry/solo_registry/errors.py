"""Errors that a user can act on, told without a stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    r"""Something the user asked for cannot be done; the text says what, why and what would work.

    Args:
        text: one paragraph. torch raises an error of a loader's process again with all of its trace
            as text; the paragraph is cut out of it, and the trace becomes the cause.

    >>> trace = "Caught UserError in DataLoader worker process 0.\n...UserError: no image\n"
    >>> str(UserError(trace))
    'no image'
    """

    def __init__(self, text: str = "") -> None:
        if text.startswith(f"Caught {type(self).__name__} in "):
            self.__cause__ = RuntimeError(text)
            text = text.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest spelling of `name`, or an empty string.

    >>> nearest("simclr_dyntmp", ["simclr", "simclr_dyntemp"])
    " Did you mean 'simclr_dyntemp'?"
    >>> nearest("DOG", ["cat", "dog"])
    " Did you mean 'dog'?"
    >>> nearest("zebra", ["simclr"])
    ''
    """
    names = list(known)
    matches = [other for other in names if other.casefold() == name.casefold()]
    matches = matches or difflib.get_close_matches(name, names, n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""
