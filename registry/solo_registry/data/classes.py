"""Class folders: which exist, which of them a class list selects, and the files in them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from solo_registry.config.own_data import holds_shards, is_shown, no_folder, splits_of
from solo_registry.config.text_file import read_text
from solo_registry.data.files import chain, composed, images_below, place
from solo_registry.data.pixels import SUFFIXES
from solo_registry.errors import UserError, nearest
from solo_registry.paths import as_text, exists, is_dir


def existing_folder(path: Path, key: str) -> Path:
    """Return `path` if it is a folder that can be read.

    Raises:
        UserError: it is not. The message names `key`, the config key that holds the path.
    """
    try:
        if is_dir(path):
            os.listdir(path)
            return path
        siblings = os.listdir(path.parent) if is_dir(path.parent) else []
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {error}") from error
    if exists(path):
        shards = "; data=hf reads it" if holds_shards(path) else ""
        raise UserError(f"{key}: {no_folder(path)}{shards}")
    raise UserError(f"{key}={path} does not exist.{nearest(path.name, siblings)}")


def folders_in(root: Path, every: bool) -> dict[str, str]:
    """Map the name of each folder in `root`, composed by `files.composed`, to its name on disk.

    Args:
        root: the folder of the classes.
        every: whether each folder is a class. If so, a link that leads to no folder is an error.

    Raises:
        UserError: a link leads nowhere or to `root` or above, or two names look the same.
    """
    found: dict[str, str] = {}
    for item in sorted(os.scandir(root), key=lambda item: item.name):
        if not is_shown(item.name):
            continue
        there = os.path.exists(item.path)
        if item.is_symlink() and (not there or (is_dir(item) and place(item.path) in chain(root))):
            if every:
                where = "to a folder that it lies in" if there else "nowhere"
                raise UserError(
                    f"{item.path} is a link that leads {where}, so it is no class: repair or "
                    "remove it"
                )
        elif is_dir(item):
            name = as_text(composed(item.name))
            if name in found:
                raise UserError(
                    f"{root} has two folders named '{name}', whose accents are encoded in two ways "
                    "(Unicode NFC and NFD): move the images into one of them"
                )
            found[name] = item.name
    return found


def class_folders(root: Path, class_list: str | None = None) -> list[str]:
    """Return the sorted names of the folders in `root`, or of those that a class list names.

    Raises:
        UserError: there are none, a listed one is missing, or one folder holds everything.
    """
    names = sorted(folders_in(root, class_list is None))
    if not names and not os.listdir(root):
        raise UserError(f"{root} is empty")
    if not names and holds_shards(root):
        raise UserError(f"{root} holds shards, which data=hf reads: data=hf data.train_path={root}")
    if not names:
        raise UserError(
            f"{root} has no folders, so it has no classes; data.no_labels=true (of evaluate: "
            "--no-labels) takes images without labels"
        )
    if class_list is None and (splits := splits_of(root)):
        paths = [f"data.{split}_path={root}/{folder}" for split, folder in splits.items()]
        raise UserError(
            f"{root} holds the folders {', '.join(names)}, which are no classes: {' '.join(paths)}"
        )
    names = listed(names, root, class_list)
    if len(names) == 1:
        raise UserError(
            f"{root} has one folder only, '{names[0]}', so it has one class: give the folder that "
            "holds the classes, or take images without labels: data.no_labels=true (of evaluate: "
            "--no-labels)"
        )
    return names


def listed(names: list[str], root: Path, class_list: str | None) -> list[str]:
    """Return the class names that a class list selects; without a list, return all of them.

    Each line of the file is a class name, or begins with a class name and a space. Alternatively,
    all names stand in one line. A line that begins with "#" is a comment, unless a class has that
    name.

    Args:
        names: composed (see `files.composed`), as `folders_in` returns them.
        root: where they are, for messages.
        class_list: the file.

    Raises:
        UserError: the file cannot be read or names nothing, or a name that is not among `names`.
    """
    if class_list is None:
        return names
    known = set(names)
    text = read_text(class_list, "data.class_list")
    lines = [composed(line.strip()) for line in text.splitlines()]
    lines = [line for line in lines if line in known or (line and not line.startswith("#"))]
    if len(lines) == 1 and lines[0] not in known:
        lines = lines[0].split()
    if not lines:
        raise UserError(f"data.class_list={class_list} names no class")
    chosen = set()
    for line in lines:
        name = line if line in known else line.split()[0]
        if name not in known:
            hint = nearest(line, names) or nearest(name, names)
            raise UserError(f"{root} has no class '{name}', which {class_list} names.{hint}")
        chosen.add(name)
    return sorted(chosen)


def labelled_files(
    root: Path, classes: Sequence[str], class_list: str | None = None
) -> tuple[list[str], list[int]]:
    """Return the images below each class's folder in `root`, relative to it, and their labels.

    Raises:
        UserError: `root` has a folder that is not one of the classes, and there is no class list.
    """
    folders = folders_in(root, class_list is None)
    unknown = sorted(folders.keys() - set(classes)) if class_list is None else []
    if unknown:
        raise UserError(
            f"{root} has a class '{unknown[0]}' that data.train_path does not."
            f"{nearest(unknown[0], classes)}"
        )
    there = [label for label, name in enumerate(classes) if name in folders]
    if not there:
        raise UserError(f"{root} has none of the {len(classes)} class folders of data.train_path")
    apart = sorted(
        name
        for name in os.listdir(root)
        if is_shown(name)
        and os.path.splitext(name)[1].lower() in SUFFIXES
        and not is_dir(root / name)
    )
    if apart:
        warnings.warn(
            f"left out images in {root} that lie in no class folder: {len(apart)}, such as "
            f"{apart[0]}",
            stacklevel=2,
        )
    found = images_below(root, [root / folders[classes[label]] for label in there])
    paths = [path for each in found for path in each]
    labels = [label for label, each in zip(there, found, strict=True) for _ in each]
    return paths, labels
