"""The user's own images: folders of files, or an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solo_registry.config.settings import setting
from solo_registry.data.classes import class_folders, existing_folder, labelled_files
from solo_registry.data.files import images_below
from solo_registry.data.folder import open_files, with_classes
from solo_registry.data.h5 import h5_set
from solo_registry.data.sets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    UNLABELLED,
    ImageSet,
    SetInfo,
    Split,
)
from solo_registry.errors import UserError

H5_SUFFIXES = (".h5", ".hdf5")


def custom(data: Any, split: Split) -> ImageSet | None:
    """Open the image folder `data.train_path`, or for "val" `data.val_path` (None without one).

    Each folder in it is a class (or each that `data.class_list` names), and all images below belong
    to it; with `data.no_labels` every image below counts, and none has a label. The classes of
    "val" are those of "train". Images become RGB, or grey with `data.channels=1`, as
    `pixels.decode` says. A file .h5 or .hdf5 is read as `h5` says.

    `checked` looks at the files before training: each must have a readable header and a whole end,
    and one that looks cut short is decoded to be sure. `data.check_files=false` leaves that out.
    """
    named = setting(data, f"{split}_path", None)
    if named is None:
        if split == "val":
            return None
        raise UserError("data.train_path is not set; it names the folder of images")
    path = Path(named).expanduser()
    if setting(data, "format", "") == "h5" or path.suffix in H5_SUFFIXES:
        return h5_set(path, data, split)
    root = existing_folder(path, f"data.{split}_path")
    info = SetInfo("custom", 0, 3, None, IMAGENET_MEAN, IMAGENET_STD, ())
    if setting(data, "no_labels", False):
        (paths,) = images_below(root, [root])
        return open_files(info, root, paths, [UNLABELLED] * len(paths), data)
    train = existing_folder(Path(setting(data, "train_path", root)).expanduser(), "data.train_path")
    classes = class_folders(train, setting(data, "class_list", None))
    paths, labels = labelled_files(root, classes, setting(data, "class_list", None))
    return open_files(with_classes(info, classes), root, paths, labels, data)
