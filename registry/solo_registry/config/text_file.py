"""Opening what a user names as a file: never a pipe or a device, which could wait for ever."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from solo_registry.errors import UserError


def open_file(path: Path) -> BinaryIO:
    """Open a file to read its bytes; a pipe or a device is refused, as reading it may never end.

    Raises:
        OSError: there is none, or it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is no file but a folder, a pipe or a device")
    return path.open("rb")


def read_text(path: str | Path, key: str) -> str:
    """Return a text file's content without the byte-order mark that Windows puts before it.

    Raises:
        UserError: it cannot be read or is not UTF-8; `key` of the config gave it.
    """
    try:
        with open_file(Path(path).expanduser()) as file:
            return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{key}={path} is no text in UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {key}={path}: {error}") from error
