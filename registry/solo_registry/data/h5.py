"""Sets in an HDF5 file (`data.format=h5`): arrays, or encoded images as solo-learn has them.

- `images`, uint8 (N, H, W) or (N, H, W, C) with any number of channels, and `labels`, (N,)
  integers, which may be missing. They are read into memory; mean and std are computed.
- `<class>/<image>`: a group per class that holds the bytes of image files, one data set each.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_registry.config.settings import setting
from solo_registry.config.text_file import open_file
from solo_registry.data.classes import listed
from solo_registry.data.files import composed
from solo_registry.data.folder import FolderSet, open_files, with_classes
from solo_registry.data.pixels import defect
from solo_registry.data.sets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    UNLABELLED,
    ImageSet,
    SetInfo,
    Split,
    TensorSet,
)
from solo_registry.errors import UserError, nearest

MOST_CLASSES = 1_000_000
STATISTICS_IMAGES = 10_000  # evenly spaced ones are enough for mean and std


def h5_set(path: Path, data: Any, split: Split) -> ImageSet:
    """Open an HDF5 file in either layout.

    Raises:
        UserError: h5py is not installed, or the file is no HDF5 file, lacks the keys, or has arrays
            of wrong shapes.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise UserError(f"{path} needs h5py: pip install 'solo-dyntemp[h5]'") from error
    opened = path
    try:
        with _opened(path) as file:
            if isinstance(file.get("images"), h5py.Dataset):
                return _arrays(path, file, data)
            groups = _groups(file)
            if not groups:
                raise UserError(
                    f"{path} has neither 'images' (with 'labels') nor a group per class with "
                    f"encoded images in it; it holds: {', '.join(map(str, file)) or 'nothing'}"
                )
        opened = train = Path(setting(data, "train_path", path)).expanduser()
        with _opened(train) as file:
            known = sorted(_groups(file))
    except UserError:
        raise
    except Exception as error:  # h5py raises whatever it meets in broken bytes
        reason = str(error) or type(error).__name__
        raise UserError(f"cannot read {opened} as HDF5: {reason}") from error
    classes = listed(known, train, setting(data, "class_list", None))
    if unknown := sorted(set(groups) - set(known)):
        hint = nearest(unknown[0], known)
        raise UserError(f"{path} has a class '{unknown[0]}' that {train} does not.{hint}")
    pairs = [(key, c) for c, name in enumerate(classes) for key in groups.get(name, [])]
    unlabelled = setting(data, "no_labels", False)
    info = SetInfo("custom", 0, 3, None, IMAGENET_MEAN, IMAGENET_STD, ())
    return open_files(
        info if unlabelled else with_classes(info, classes),
        path,
        [key for key, _ in pairs],
        [UNLABELLED if unlabelled else label for _, label in pairs],
        data,
        kind=H5Files,
    )


class H5Files(FolderSet):
    """Image files inside an HDF5 file. An image is read when it is asked for."""

    _open: tuple[int, Any] | None = None

    def _item(self, index: int) -> Any:
        """Return the HDF5 data set of image `index`; each process opens the file for itself."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), _opened(self.root)
        return self._open[1][os.fsdecode(self._paths[index])]

    def content(self, index: int) -> bytes:
        """Return the bytes of image `index`."""
        value = self._item(index)[()]
        return value if isinstance(value, bytes) else np.asarray(value).tobytes()

    def outline(self, index: int, ends: bool) -> bytes:
        """Return the size of image `index` in bytes and, with `ends`, a hash of its content."""
        try:
            item = self._item(index)
            if not ends and not item.dtype.hasobject:
                return f"{item.nbytes}".encode()
            return hashlib.sha256(self.content(index)).digest()
        except Exception:  # h5py raises whatever it meets in broken bytes; `defect` says what
            return b""

    def defect(self, index: int) -> str | None:
        """Say what is wrong with an image, or None."""
        try:
            content = self.content(index)
        except Exception as error:  # h5py raises whatever it meets in broken bytes
            return str(error) or type(error).__name__
        return defect(io.BytesIO(content))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_open"}


def _opened(path: Path) -> Any:
    """Open an HDF5 file; h5py would wait for ever for what is written into a pipe.

    Raises:
        OSError: it is no regular file, or no HDF5 file.
    """
    import h5py

    open_file(path).close()
    return h5py.File(path, "r")


def _groups(file: Any) -> dict[str, list[str]]:
    """Map each group's name, as `composed`, to the keys of the images in the group."""
    groups: dict[str, list[str]] = {}
    for name, group in file.items():
        if hasattr(group, "keys"):
            name = os.fsdecode(name)  # h5py gives bytes where a name is no UTF-8
            keys = sorted(map(os.fsdecode, group))
            groups.setdefault(composed(name), []).extend(f"{name}/{key}" for key in keys)
    return groups


def _arrays(path: Path, file: Any, data: Any) -> TensorSet:
    images = file["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise UserError(
            f"'images' of {path} must be uint8 (N, H, W) or (N, H, W, C), got {images.dtype} "
            f"{images.shape}"
        )
    if images.ndim == 4 and images.shape[1] < images.shape[2] == images.shape[3]:
        raise UserError(f"'images' of {path} has shape {images.shape}: channels come last")
    pixels = torch.from_numpy(images[:])
    pixels = (pixels.unsqueeze(-1) if images.ndim == 3 else pixels).permute(0, 3, 1, 2).contiguous()
    labels = torch.full((len(pixels),), UNLABELLED)
    if "labels" in file and not setting(data, "no_labels", False):
        labels = _labels(path, file["labels"])
    elif not setting(data, "no_labels", False):
        raise UserError(
            f"{path} has no 'labels' beside 'images'; data.no_labels=true takes images without; "
            f"it holds: {', '.join(map(str, file))}"
        )
    if labels.shape != (len(pixels),) or int(labels.min()) < UNLABELLED:
        raise UserError(
            f"'labels' of {path} must be {len(pixels)} class numbers from 0, or -1, got shape "
            f"{tuple(labels.shape)}"
        )
    mean, std = statistics(pixels)
    height, width = pixels.shape[-2:]
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    size = height if height == width else None
    info = SetInfo("custom", len(classes), pixels.shape[1], size, mean, std, classes)
    return TensorSet(info, pixels, labels)


def _labels(path: Path, given: Any) -> Tensor:
    """Read class numbers; refuse text, fractions and what is too large instead of converting."""
    if hasattr(given, "keys"):
        raise UserError(f"'labels' of {path} is a group; it must be one array of class numbers")
    values = np.asarray(given[()])
    if values.dtype.kind in "iu" and values.size and int(values.max()) >= MOST_CLASSES:
        raise UserError(f"'labels' of {path} has {values.max()}: labels are below {MOST_CLASSES}")
    if values.dtype.kind not in "iu":
        first = values.flat[0] if values.size else ""
        first = first.decode(errors="replace") if isinstance(first, bytes) else first
        raise UserError(
            f"'labels' of {path} must be integers, the class numbers from 0, or -1; they are "
            f"{given.dtype}, the first is {str(first)!r}"
        )
    return torch.from_numpy(values.astype(np.int64))


def statistics(pixels: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of each channel of (N, C, H, W) uint8, of values in [0, 1].

    >>> statistics(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    some = pixels[:: -(-len(pixels) // STATISTICS_IMAGES)].double().div_(255)
    mean = tuple(some.mean((0, 2, 3)).tolist())
    std = tuple(some.std((0, 2, 3), correction=0).clamp_min(1 / 255).tolist())
    return mean, std
