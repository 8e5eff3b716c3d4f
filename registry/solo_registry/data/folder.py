"""Image folders of the user: one folder per class, or any folder without labels."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_registry.data.files import SUFFIXES, decode, defect, images_below, is_shown
from solo_registry.data.sets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    UNLABELLED,
    ImageSet,
    SetInfo,
    Split,
    grey_info,
    setting,
)
from solo_registry.errors import UserError, nearest

SHOW_PROGRESS_FROM = 5000


class FolderSet(ImageSet):
    """Images read from files when they are asked for.

    Args:
        info: facts about the set; images are converted to its number of channels, 1 or 3.
        root: folder that the paths are relative to.
        paths: files, relative to `root`.
        targets: (N,) int64 labels.
        on_error: what to do with an image that cannot be decoded: "raise", or "skip" to take the
            next one that can in its place, with a warning once per process.
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

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        for candidate in self.candidates(index):
            try:
                image = decode(self.path(candidate), self.info.channels)
            except Exception as error:  # Pillow raises whatever it meets in broken bytes
                self.refuse(candidate, error)
                continue
            return image, int(self.targets[candidate])
        raise UserError(f"no image in {self.root} can be read")

    def candidates(self, index: int) -> Iterator[int]:
        """Yield `index` and then those that may stand in for it, without the unreadable ones."""
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if candidate not in self.unreadable:
                yield candidate

    def check(self, index: int) -> None:
        """Refuse an image if it cannot be decoded."""
        try:
            decode(self.path(index), self.info.channels)
        except Exception as error:
            self.refuse(index, error)

    def refuse(self, index: int, error: Exception) -> None:
        """Leave an image out from now on, with a warning for the first, or raise (`on_error`)."""
        if self.on_error == "raise":
            raise UserError(_unreadable(self.path(index), str(error))) from error
        if not self.unreadable:
            warnings.warn(
                f"cannot read {self.path(index)} ({error}): the next image stands in for it, and "
                "so for any other like it (data.on_error=skip)",
                stacklevel=2,
            )
        self.unreadable.add(index)

    def subset(self, indices: Sequence[int]) -> FolderSet:
        """Return a set of the images at `indices`, in that order."""
        paths = [os.fsdecode(self._paths[index]) for index in indices]
        chosen = self.targets[torch.as_tensor(indices)]
        return FolderSet(self.info, self.root, paths, chosen, self.on_error)


def custom(data: Any, split: Split) -> FolderSet | None:
    """Open the image folder `data.train_path`, or for "val" `data.val_path` (None without one).

    Each folder in it is a class, and all images below belong to it; with `data.no_labels` every
    image below counts, and none has a label. The classes of "val" are those of "train". Images
    become RGB, or grey with `data.channels=1`.

    Files are checked before training: each must have a readable header and a whole end, and one
    that looks cut short is decoded to be sure. `data.check_files=false` leaves that out.
    """
    named = setting(data, f"{split}_path", None)
    if named is None:
        if split == "val":
            return None
        raise UserError("data.train_path is not set; it names the folder of images")
    root = _folder(Path(named).expanduser(), f"data.{split}_path")
    if setting(data, "no_labels", False):
        classes: list[str] = []
        paths = images_below(root, root)
        labels = torch.full((len(paths),), UNLABELLED)
    else:
        train = _folder(Path(setting(data, "train_path", root)).expanduser(), "data.train_path")
        classes = _classes(train)
        paths, targets = _labelled(root, classes)
        labels = torch.tensor(targets, dtype=torch.int64)
    if not paths:
        raise UserError(f"no images in {root}; formats: {', '.join(sorted(SUFFIXES))}")
    info = SetInfo("custom", len(classes), 3, None, IMAGENET_MEAN, IMAGENET_STD, tuple(classes))
    if setting(data, "channels", 3) == 1:
        info = grey_info(info)
    images = FolderSet(info, root, paths, labels, setting(data, "on_error", "raise"))
    if setting(data, "check_files", True):
        images = _without_defects(images)
    if split == "train":
        present = set(images.targets.tolist())
        absent = [name for label, name in enumerate(classes) if label not in present]
        if absent:
            raise UserError(f"no readable image of class {', '.join(absent)} in {root}")
    return images


def _folder(path: Path, key: str) -> Path:
    try:
        if path.is_dir():
            os.listdir(path)
            return path
        siblings = os.listdir(path.parent) if path.parent.is_dir() else []
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {error}") from error
    what = "is no folder" if path.exists() else "does not exist"
    raise UserError(f"{key}={path} {what}.{nearest(path.name, siblings)}")


def _classes(root: Path) -> list[str]:
    names = sorted(item.name for item in os.scandir(root) if is_shown(item.name) and item.is_dir())
    if not names:
        raise UserError(
            f"{root} is empty"
            if not os.listdir(root)
            else f"{root} has no folders, which would be the classes; "
            "data.no_labels=true takes images without labels"
        )
    return names


def _labelled(root: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    unknown = sorted(set(_classes(root)) - set(classes))
    if unknown:
        raise UserError(
            f"{root} has a class '{unknown[0]}' that data.train_path does not."
            f"{nearest(unknown[0], classes)}"
        )
    paths: list[str] = []
    targets: list[int] = []
    for label, name in enumerate(classes):
        found = images_below(root, root / name) if (root / name).is_dir() else []
        paths += found
        targets += [label] * len(found)
    return paths, targets


def _without_defects(images: FolderSet) -> FolderSet:
    """Check every file; refuse or leave out the broken ones, as `on_error` says."""
    with ThreadPool() as pool:
        reasons = pool.imap(lambda i: defect(images.path(i)), range(len(images)), chunksize=16)
        broken = {
            index: reason
            for index, reason in enumerate(_with_progress(reasons, len(images)))
            if reason is not None
        }
    if not broken:
        return images
    first = next(iter(broken))
    if images.on_error == "raise":
        more = f" ({len(broken)} such files)" if len(broken) > 1 else ""
        raise UserError(_unreadable(images.path(first), broken[first]) + more)
    if len(broken) == len(images):
        raise UserError(f"none of the {len(images)} images in {images.root} can be read")
    warnings.warn(
        f"left out {len(broken)} of {len(images)} images in {images.root} that cannot be read, "
        f"the first {images.path(first)}: {broken[first]}",
        stacklevel=2,
    )
    return images.subset([index for index in range(len(images)) if index not in broken])


def _unreadable(path: Path, reason: str) -> str:
    return f"cannot read image {path}: {reason}. data.on_error=skip leaves such images out"


def _with_progress(items: Iterable[Any], total: int) -> Iterator[Any]:
    if total <= SHOW_PROGRESS_FROM or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, "checking images", total, console=Console(stderr=True), transient=True)
