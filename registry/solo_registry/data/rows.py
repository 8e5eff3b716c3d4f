"""Image files in the rows of a table."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_registry.config.text_file import open_file
from solo_registry.data.folder import DIGEST_FILES, FolderSet
from solo_registry.data.pixels import defect


class RowFiles(FolderSet):
    """Image files in the rows of a `datasets` set.

    Attributes:
        rows: the set's rows, with the column of images alone; not decoded.
    """

    rows: Any

    def content(self, index: int) -> bytes:
        """Return the bytes of image `index`."""
        image = self.rows[int(self._paths[index])].column(0)[0].as_py()
        if isinstance(image, dict):
            if image["bytes"] is None:
                with open_file(Path(image["path"])) as file:
                    return file.read()
            image = image["bytes"]
        return bytes(image)

    def path(self, index: int) -> Path:
        """Return where image `index` is: the set and the row."""
        return self.root / f"row {int(self._paths[index])}"

    def defect(self, index: int) -> str | None:
        """Say what is wrong with an image, or None."""
        try:
            return defect(io.BytesIO(self.content(index)))
        except (OSError, TypeError) as error:
            return str(error)

    def digest(self) -> str:
        """Return a hash, in hex digits, of number, classes and labels, and of `covered`."""
        content = hashlib.sha256(repr((len(self), self.info.class_names)).encode())
        content.update(self.targets.numpy().tobytes())
        for part in self.covered():
            content.update(part)
        return content.hexdigest()

    def covered(self) -> Iterator[bytes]:
        """Yield what a digest covers of the images: hashes of 1,024 of them."""
        for index in range(0, len(self), max(1, -(-len(self) // DIGEST_FILES))):
            try:
                yield hashlib.sha256(self.content(index)).digest()
            except (OSError, TypeError):  # `defect` says what is wrong
                yield b"unreadable"

    def subset(self, indices: Sequence[int]) -> RowFiles:
        """Return a set of the images at `indices`, in that order."""
        chosen = copy(self)
        chosen.unreadable = set()
        chosen._paths = self._paths[np.asarray(indices, dtype=np.int64)]
        chosen.targets = self.targets[torch.as_tensor(indices)]
        return chosen
