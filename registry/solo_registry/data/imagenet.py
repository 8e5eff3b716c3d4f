"""ImageNet, ImageNet-100 and Tiny-ImageNet, read from the folders that their archives unpack to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from solo_registry.config.settings import setting
from solo_registry.config.text_file import read_text
from solo_registry.data.classes import class_folders, labelled_files
from solo_registry.data.custom import custom
from solo_registry.data.files import composed, images_below
from solo_registry.data.folder import FolderSet, open_files, with_classes
from solo_registry.data.sets import IMAGENET_MEAN, IMAGENET_STD, ImageSet, SetInfo, Split
from solo_registry.errors import UserError
from solo_registry.paths import is_dir, is_file


def imagenet(data: Any, split: Split) -> ImageSet | None:
    """Open ImageNet-1k: `data.train_path` and `data.val_path` hold one folder per class.

    The validation archive unpacks to 50,000 files in one folder; they have to be moved to class
    folders first, as for torchvision's ImageFolder.
    """
    return _named("imagenet", data, split)


def imagenet100(data: Any, split: Split) -> ImageSet | None:
    """Open ImageNet-100: the 100 class folders of ImageNet that `data.class_list` names.

    This package contains no list. The usual one is by Tian et al. 2020 (Contrastive Multiview
    Coding, arXiv 1906.05849). Their repository and solo-learn's (imagenet100_classes.txt) have it.
    Without a list there must be exactly 100 folders.
    """
    images = _named("imagenet100", data, split)
    if images is not None and images.info.num_classes != 100:
        raise UserError(
            f"data.train_path has {images.info.num_classes} classes: ImageNet-100 has 100. Give "
            "data.class_list=FILE, one class folder per line, such as imagenet100_classes.txt of "
            "solo-learn or imagenet100.txt of HobbitLong/CMC"
        )
    return images


def tiny_imagenet(data: Any, split: Split) -> FolderSet:
    """Open Tiny-ImageNet, 200 classes of 64x64, as tiny-imagenet-200.zip unpacks.

    `data.train_path` is the folder with `train/` and `val/`, or the one above it. Validation images
    are labelled by `val/val_annotations.txt`, or lie in class folders.
    """
    named = Path(setting(data, "train_path", "datasets")).expanduser()
    root = next((r for r in (named, named / "tiny-imagenet-200") if is_dir(r / "train")), None)
    if root is None:
        raise UserError(
            f"Tiny-ImageNet is not in {named}: data.train_path names the folder that holds "
            "tiny-imagenet-200, unpacked, with train/ and val/ in it"
        )
    classes = class_folders(root / "train", setting(data, "class_list", None))
    info = SetInfo("tiny_imagenet", 0, 3, 64, IMAGENET_MEAN, IMAGENET_STD, ())
    part = root / split
    if split == "val" and is_file(part / "val_annotations.txt"):
        paths, labels = _annotated(part, classes)
    elif is_dir(part):
        paths, labels = labelled_files(part, classes, setting(data, "class_list", None))
    else:
        raise UserError(f"{part} does not exist; it holds Tiny-ImageNet's {split} images")
    return open_files(with_classes(info, classes), part, paths, labels, data)


def _annotated(root: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    """Return the files and labels that val_annotations.txt lists: name, class, and a box."""
    place = {name: label for label, name in enumerate(classes)}
    there = set(images_below(root, [root])[0])
    paths, labels = [], []
    annotations = root / "val_annotations.txt"
    text = read_text(annotations, "the validation labels of data.train_path")
    for number, line in enumerate(text.rstrip().splitlines(), 1):
        words = line.split()
        if len(words) < 2:
            raise UserError(f"{annotations}, line {number}: '{line}' names no file and class")
        path = f"images/{words[0]}"
        if path not in there:
            raise UserError(f"{annotations}, line {number}: there is no {root / path}")
        if (name := composed(words[1])) in place:
            paths.append(path)
            labels.append(place[name])
    return paths, labels


def _named(name: str, data: Any, split: Split) -> ImageSet | None:
    images = custom(data, split)
    if images is None:
        return None
    images.info = replace(images.info, name=name)
    return images
