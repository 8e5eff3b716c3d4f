"""The user's own images: folders of files, or an HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from solo_registry.config.own_data import H5_SUFFIXES
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


def custom(data: Any, split: Split) -> ImageSet | None:
    """Open the image folder `data.train_path`, or `data.val_path` for "val".

    Each folder in it is a class, or each folder that `data.class_list` names. All images below a
    class folder belong to the class. With `data.no_labels` all images below the root are used, and
    none has a label. The classes of "val" are those of "train". `pixels.decode` converts images to
    RGB, or to grey with `data.channels=1`. `h5.h5_set` opens a path that ends in .h5 or .hdf5.

    `FolderSet.checked` checks the files before training. Each must have a readable header and a
    complete end. A file that looks cut short is decoded to be sure. `data.check_files=false` skips
    this check.

    Returns:
        The images; None for "val" where `data.val_path` is not set.
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
