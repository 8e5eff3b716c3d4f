"""Errors that a user can act on, told without a stack trace."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

SPACE = "Free some space. The same command goes on from what is saved"
CURES = {
    errno.ENOSPC: f". {SPACE}",
    errno.EDQUOT: f". {SPACE}",
    errno.EMFILE: ". `ulimit -n` raises the number of files that may be open",
}
# what libraries say without an OSError
SIGNS = {
    "DataLoader worker": "A process that loads images has ended, often because the memory or "
    "/dev/shm was full: try a smaller data.num_workers, or 0. The same command goes on from the "
    "last finished epoch",
    "file write failed": SPACE,  # torch.save's
    "(os error": SPACE,  # safetensors'
}


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


def told(error: BaseException) -> UserError | None:
    """Return what a command prints in place of a stack trace; None if this is for a developer.

    Told are a user's mistakes, and what the machine refuses: a file, space on the disk, memory.

    Args:
        error: what ended the command.

    >>> print(told(PermissionError(13, "Permission denied", "runs/a")))
    Permission denied: 'runs/a'
    >>> told(ValueError("a bug")) is None
    True
    """
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):
            place = "" if cause.filename is None else f": {str(cause.filename)!r}"
            cure = CURES.get(cause.errno or 0, "")
            return UserError(f"{cause.strerror or text}{place}{cure}")
        if isinstance(cause, MemoryError):
            return UserError(f"the memory is full{': ' if text else ''}{text}")
        for sign, cure in SIGNS.items():
            if sign in text and isinstance(cause, RuntimeError | ValueError):
                return UserError(f"{text[:300]}. {cure}")
        cause = cause.__cause__
    return None


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
