"""Files that list images of a set: one index per line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solo_registry.catalog.declared import shown
from solo_registry.config.settings import whole
from solo_registry.config.text_file import read_text
from solo_registry.errors import UserError

INDEX_FILE = "train_indices.txt"  # in the run folder
LONGEST = 18  # digits of an index, so that it fits 64 bits
PROFILES = ("exponential", "step")  # of a long tail, in place of a file


def read_indices(path: Path, length: int | None = None) -> list[int]:
    """Read an index file: one index of an image per line, as `write_indices` writes it.

    Args:
        path: the file.
        length: number of images there are.

    Raises:
        UserError: the file cannot be read, is empty, or has a line that is no index of an image or
            was there before.
    """
    lines = read_text(path, "data.long_tail.index_file").split()
    seen: dict[int, None] = {}
    for number, line in enumerate(lines, 1):
        if (index := whole(line)) is None:
            raise UserError(f"{path}, entry {number}: {shown(line)} is no index")
        if length is not None and index >= length:
            raise UserError(f"{path}, entry {number}: index {index} of a set of {length} images")
        if index in seen:
            raise UserError(f"{path}, entry {number}: index {index} is there twice")
        seen[index] = None
    if not seen:
        raise UserError(f"{path} holds no index")
    return list(seen)


def index_hash(indices: Sequence[int]) -> str:
    """Return the SHA-256 of an index file with these lines, 16 hex digits.

    >>> index_hash([0, 7])
    '2b4debfa02d0b86c'
    """
    return hashlib.sha256(_text(indices).encode()).hexdigest()[:16]


def index_record(indices: Sequence[int] | None) -> dict[str, Any] | None:
    """Return what result.json says about the training images; None where they are all."""
    if indices is None:
        return None
    return {"file": INDEX_FILE, "images": len(indices), "sha256": index_hash(indices)}


def write_indices(indices: Sequence[int], path: Path) -> None:
    """Write an index file, which `data.long_tail.index_file` takes."""
    path.write_bytes(_text(indices).encode())


def _text(indices: Sequence[int]) -> str:
    return "".join(f"{index}\n" for index in indices)
