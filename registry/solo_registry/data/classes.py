"""Folders as classes: which there are, which a list keeps, and the files in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from solo_registry.data.files import images_below, is_shown
from solo_registry.errors import UserError, nearest


def existing_folder(path: Path, key: str) -> Path:
    """Return `path` if it is a folder that can be read.

    Raises:
        UserError: it is not; `key` of the config gave it.
    """
    try:
        if path.is_dir():
            os.listdir(path)
            return path
        siblings = os.listdir(path.parent) if path.parent.is_dir() else []
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {error}") from error
    what = "is no folder" if path.exists() else "does not exist"
    raise UserError(f"{key}={path} {what}.{nearest(path.name, siblings)}")


def class_folders(root: Path, class_list: str | None = None) -> list[str]:
    """Return the sorted names of the folders in `root`, or of those that a class list names.

    Raises:
        UserError: there are none, a listed one is missing, or one folder holds everything.
    """
    names = sorted(item.name for item in os.scandir(root) if is_shown(item.name) and item.is_dir())
    if not names:
        raise UserError(
            f"{root} is empty"
            if not os.listdir(root)
            else f"{root} has no folders, which would be the classes; "
            "data.no_labels=true takes images without labels"
        )
    names = listed(names, root, class_list)
    if len(names) == 1:
        raise UserError(
            f"{root} has one folder only, '{names[0]}', and so one class: give the folder that "
            "holds the classes, or data.no_labels=true to take the images without labels"
        )
    return names


def listed(names: list[str], root: Path, class_list: str | None) -> list[str]:
    """Return those class names that a file lists, all of them without a file.

    The file has a name as first word of each line, or all of them in one line.

    Raises:
        UserError: the file cannot be read or names nothing, or a name that is not among `names`.
    """
    if class_list is None:
        return names
    try:
        lines = Path(class_list).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read data.class_list={class_list}: {error}") from error
    rows = [words for line in lines if (words := line.split())]
    chosen = sorted({*rows[0]} if len(rows) == 1 else {words[0] for words in rows})
    if not chosen:
        raise UserError(f"data.class_list={class_list} names no class")
    for name in chosen:
        if name not in names:
            hint = nearest(name, names)
            raise UserError(f"{root} has no class '{name}', which {class_list} names.{hint}")
    return chosen


def labelled_files(
    root: Path, classes: Sequence[str], class_list: str | None = None
) -> tuple[list[str], list[int]]:
    """Return the images below each class's folder in `root`, relative to it, and their labels.

    Raises:
        UserError: `root` has a folder that is none of the classes, and no class list says why.
    """
    folders = {item.name for item in os.scandir(root) if is_shown(item.name) and item.is_dir()}
    unknown = sorted(folders - set(classes)) if class_list is None else []
    if unknown:
        raise UserError(
            f"{root} has a class '{unknown[0]}' that data.train_path does not."
            f"{nearest(unknown[0], classes)}"
        )
    if not folders & set(classes):
        raise UserError(f"{root} has none of the {len(classes)} class folders of data.train_path")
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = images_below(root, root / name) if name in folders else []
        paths += found
        labels += [label] * len(found)
    return paths, labels
