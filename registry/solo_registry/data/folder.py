"""Image folders of the user: one folder per class, or any folder without labels."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from solo_registry.config.settings import setting
from solo_registry.config.text_file import open_file
from solo_registry.data.files import composed
from solo_registry.data.pixels import FORMATS, SUFFIXES, decode, defect
from solo_registry.data.sets import (
    UNLABELLED,
    ImageSet,
    SetInfo,
    grey_info,
)
from solo_registry.errors import Unreachable, UserError

SHOW_PROGRESS_FROM = 5000
DIGEST_FILES = 1024  # number of files whose content a digest covers
DIGEST_BYTES = 2**16  # number of bytes that it reads at either end of such a file


class FolderSet(ImageSet):
    """Images read from files when they are asked for.

    Args:
        info: facts about the set; images are converted to its number of channels, 1 or 3.
        root: folder that the paths are relative to.
        paths: files, relative to `root`.
        targets: (N,) int64 labels.
        on_error: what to do with an image that cannot be decoded: "raise", or "skip" to replace it
            by the next readable image, with one warning per process.
    """

    def __init__(
        self, info: SetInfo, root: Path, paths: Sequence[str], targets: Tensor, on_error: str
    ) -> None:
        self.info = info
        self.root = root
        self.targets = targets
        self.on_error = on_error
        self.unreadable: set[int] = set()
        # One array of bytes is shared by the loader's processes; a list of str would be copied to
        # each of them, as counting references writes to it.
        self._paths = np.array([os.fsencode(path) for path in paths])

    def path(self, index: int) -> Path:
        """Return the file of image `index`."""
        return self.root / os.fsdecode(self._paths[index])

    def content(self, index: int) -> bytes:
        """Return the bytes of image `index`."""
        with open_file(self.path(index)) as file:
            return file.read()

    def defect(self, index: int) -> str | None:
        """Say what is wrong with an image, reading as little as possible of it, or None."""
        try:
            with open_file(self.path(index)) as file:
                return defect(file)
        except OSError as error:
            return str(error)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not 0 <= index < len(self):  # so that a loop over the set ends
            raise IndexError(f"image {index} of {len(self)}")
        for candidate in self.candidates(index):
            try:
                image = self.decoded(candidate)
            except Exception as error:  # Pillow raises whatever it meets in broken bytes
                self.refuse(candidate, error)
                continue
            return image, int(self.targets[candidate])
        raise UserError(f"no image in {self.root} can be read")

    def candidates(self, index: int) -> Iterator[int]:
        """Yield `index` and then the images that may replace it, without unreadable ones."""
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if candidate not in self.unreadable:
                yield candidate

    def decoded(self, index: int) -> Tensor:
        """Return image `index`, uint8 (C, H, W); on broken bytes any exception of Pillow passes."""
        return decode(io.BytesIO(self.content(index)), self.info.channels)

    def shorter_side(self, index: int) -> int:
        """Return the smaller of height and width of image `index`, by its header."""
        with Image.open(io.BytesIO(self.content(index)), formats=FORMATS) as image:
            return min(image.size)

    def check(self, index: int) -> None:
        """Refuse an image if it cannot be decoded."""
        try:
            self.decoded(index)
        except Exception as error:
            self.refuse(index, error)

    def refuse(self, index: int, error: Exception) -> None:
        """Leave an image out from now on, with a warning for the first, or raise (`on_error`).

        Where the images cannot be reached, none of them is at fault, so the error passes.
        """
        if isinstance(error, Unreachable):
            raise error
        if self.on_error == "raise":
            raise UserError(_unreadable(self.path(index), str(error))) from error
        if not self.unreadable:
            warnings.warn(
                f"cannot read {self.path(index)} ({error}): the next image replaces it, and the "
                "same happens for any further unreadable image (data.on_error=skip)",
                stacklevel=2,
            )
        self.unreadable.add(index)

    def outline(self, index: int, ends: bool) -> bytes:
        """Return the size of image `index` in bytes and, with `ends`, a hash of its two ends.

        For a file that cannot be read the result is b"".
        """
        try:
            size = os.stat(os.path.join(os.fsencode(self.root), self._paths[index])).st_size
            return f"{size}\0".encode() + (self._ends(index, size) if ends else b"")
        except OSError:
            return b""

    def _ends(self, index: int, size: int) -> bytes:
        content = hashlib.sha256()
        with open_file(self.path(index)) as file:
            for start in (0, max(0, size - DIGEST_BYTES)):
                file.seek(start)
                content.update(file.read(DIGEST_BYTES))
        return content.digest()

    def digest(self) -> str:
        """Return a hash, in hex digits, of all names, sizes and classes, and of some content.

        Reading all of a million files would take hours. So the hash covers the content of 1,024
        evenly spaced files, and of these the first and last 64 KiB. In a larger set a single file
        that is replaced by another of the same name and size can go unnoticed.
        """
        read = set(range(0, len(self), max(1, -(-len(self) // DIGEST_FILES))))
        with ThreadPool() as pool:
            outlines = pool.starmap(
                self.outline, ((i, i in read) for i in range(len(self))), chunksize=256
            )
        content = hashlib.sha256()
        for path, target, outline in zip(self._paths, self.targets.tolist(), outlines, strict=True):
            label = self.info.class_names[target] if target != UNLABELLED else ""
            name = composed(os.fsdecode(path)).replace(os.sep, "/")
            content.update(f"{name}\0{label}\0".encode("utf-8", "surrogateescape") + outline)
        return content.hexdigest()

    def checked(self) -> FolderSet:
        """Check every file; refuse or leave out the broken ones, as `on_error` says."""
        with ThreadPool() as pool:
            reasons = pool.imap(self.defect, range(len(self)), chunksize=16)
            broken = {
                index: reason
                for index, reason in enumerate(with_progress(reasons, len(self), "checking images"))
                if reason is not None
            }
        if not broken:
            return self
        first = next(iter(broken))
        if self.on_error == "raise":
            more = f" ({len(broken)} such files)" if len(broken) > 1 else ""
            raise UserError(_unreadable(self.path(first), broken[first]) + more)
        if len(broken) == len(self):
            raise UserError(f"none of the {len(self)} images in {self.root} can be read")
        warnings.warn(
            f"left out {len(broken)} of {len(self)} images in {self.root} that cannot be read, "
            f"the first {self.path(first)}: {broken[first]}",
            stacklevel=2,
        )
        return self.subset([index for index in range(len(self)) if index not in broken])

    def require_all_classes(self) -> None:
        """Refuse a set in which a class has no image."""
        present = set(self.targets.tolist())
        names = enumerate(self.info.class_names)
        if absent := [name for label, name in names if label not in present]:
            raise UserError(f"no readable image of class {', '.join(absent)} in {self.root}")

    def subset(self, indices: Sequence[int]) -> FolderSet:
        """Return a set of the images at `indices`, in that order."""
        paths = [os.fsdecode(self._paths[index]) for index in indices]
        chosen = self.targets[torch.as_tensor(indices)]
        return type(self)(self.info, self.root, paths, chosen, self.on_error)


def with_classes(info: SetInfo, classes: Sequence[str]) -> SetInfo:
    """Return `info` with these classes."""
    return replace(info, num_classes=len(classes), class_names=tuple(classes))


def open_files(
    info: SetInfo,
    root: Path,
    paths: Sequence[str],
    labels: Sequence[int],
    data: Any,
    kind: type[FolderSet] = FolderSet,
) -> FolderSet:
    """Return a set of files with the config's `channels` and `on_error`; no file is opened yet.

    Raises:
        UserError: there are no files.
    """
    if not paths:
        raise UserError(f"no images in {root}; formats: {', '.join(sorted(SUFFIXES))}")
    if setting(data, "channels", 3) == 1:
        info = grey_info(info)
    targets = torch.tensor(labels, dtype=torch.int64)
    return kind(info, root, paths, targets, setting(data, "on_error", "raise"))


def _unreadable(path: Path, reason: str) -> str:
    return f"cannot read image {path}: {reason}. data.on_error=skip leaves such images out"


def with_progress(
    items: Iterable[Any], total: int, what: str, most: int = SHOW_PROGRESS_FROM
) -> Iterator[Any]:
    """Yield items; on a terminal with a bar, where they are more than `most`."""
    if total <= most or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, what, total, console=Console(stderr=True), transient=True)
