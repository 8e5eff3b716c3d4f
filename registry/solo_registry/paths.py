"""What is at a path, with an error where the system cannot tell; and a path as text.

Until Python 3.13, pathlib's `exists`, `is_file` and `is_dir` raise an error for a folder that one
may not look into, or for a network disk that does not answer. From Python 3.14 on they say no. A
run would then start anew over its own checkpoint, so we ask here, and `tests/test_house.py` forbids
pathlib's.
"""

from __future__ import annotations

import errno
import os
import stat
from os import PathLike

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)  # as pathlib had it


def exists(path: PathLike[str]) -> bool:
    """Say whether there is anything at a path; a link to nothing is nothing.

    Raises:
        OSError: the system cannot tell, such as PermissionError.

    >>> from pathlib import Path
    >>> exists(Path("/")), exists(Path("/no such"))
    (True, False)
    """
    return _mode(path) != 0


def is_file(path: PathLike[str]) -> bool:
    """Say whether there is a file at a path, or a link to one.

    Raises:
        OSError: the system cannot tell, such as PermissionError.

    >>> from pathlib import Path
    >>> is_file(Path("/"))
    False
    """
    return stat.S_ISREG(_mode(path))


def is_dir(path: PathLike[str]) -> bool:
    """Say whether there is a folder at a path, or a link to one.

    Raises:
        OSError: the system cannot tell, such as PermissionError.

    >>> from pathlib import Path
    >>> is_dir(Path("/"))
    True
    """
    return stat.S_ISDIR(_mode(path))


def as_text(name: str) -> str:
    r"""Return a file's name for tables and pictures, which hold no bytes that are not UTF-8.

    Names from an old archive may have such bytes. Python reads them, but cannot write them.

    >>> print(as_text("k\udce4tzchen.jpg"))
    k\xe4tzchen.jpg
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _mode(path: PathLike[str]) -> int:
    """Return kind and permissions of what is at a path; 0 if there is nothing."""
    try:
        return os.stat(path).st_mode
    except ValueError:  # a null character, which no path has
        return 0
    except OSError as error:
        if error.errno in ABSENT:
            return 0
        raise
