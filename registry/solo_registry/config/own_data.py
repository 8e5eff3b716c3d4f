"""`data=PATH`: the user's own images in place of the name of a data set."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from solo_registry.errors import UserError, nearest
from solo_registry.paths import exists, is_dir

H5_SUFFIXES = (".h5", ".hdf5")
SHARDS = {".arrow": "arrow", ".parquet": "parquet", ".tar": "webdataset"}  # and their reader's name
SAVED = ("dataset_dict.json", "state.json")  # of a folder that `save_to_disk` wrote
VAL_SPLITS = ("val", "validation", "valid", "test")  # the first that there is
SPLIT_FOLDERS = {"data", "train", *VAL_SPLITS}  # of shards, or of class folders
MADE_BY_SYSTEMS = ("__MACOSX", "@eaDir")  # folders of thumbnails that operating systems create
PATH_SIGNS = ("/", "\\", "~", ".")  # a name with none of these can be a data set's


def with_own_data(override: str, known: Collection[str], several: bool = False) -> list[str]:
    """Write `data=PATH`, unless it is a data set's name, as the keys that read what lies there.

    Args:
        override: any override.
        known: the names of data sets.
        several: whether the override may have several values, as for `--multirun`.

    Raises:
        UserError: nothing lies there, or no loader reads it.

    >>> with_own_data("data=cifar10", ["cifar10"]), with_own_data("data=.", ["cifar10"])
    (['data=cifar10'], ['data=custom', 'data.train_path=.'])
    >>> with_own_data("data=https://a/b.parquet", [])
    ['data=hf', 'data.train_path=https://a/b.parquet', 'data.streaming=true']
    """
    key, _, value = override.partition("=")
    written = value[1:-1].replace("\\'", "'") if value[:1] in ("'", '"') else value
    if key != "data" or written in known:
        return [override]
    parts = [part for part in written.split(",") if part not in known] if several else []
    if len(parts) > 1 and any(exists(Path(part).expanduser()) for part in parts):
        raise UserError(
            f"{override}: several folders are values of a key: data=custom data.train_path={value}"
        )
    reader, paths = named_or_own(written, known)
    if not paths:
        return [override]
    quote = value[:1] if value[:1] in ("'", '"') else ""
    paths = {
        key: path.replace(quote, f"\\{quote}") if quote else path for key, path in paths.items()
    }
    words = [f"data={reader}", *(f"data.{key}={quote}{path}{quote}" for key, path in paths.items())]
    return [*words, "data.streaming=true"] if is_address(written) else words


def is_address(path: str) -> bool:
    """Whether a path is an address, such as `https://host/train.parquet`, and not on the disk."""
    return "://" in path


def named_or_own(name: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Return a data set's name, or for a path the name of its reader and the keys of its images.

    Returns:
        The name; and no key for a data set's name, else `train_path`, and also `val_path` for a
        folder that holds the class folders of both (`splits_of`). An address is `hf`'s.

    Raises:
        UserError: a path at which nothing lies, or that no loader reads.

    >>> named_or_own("cifar10", ["cifar10"]), named_or_own(".", ["cifar10"])
    (('cifar10', {}), ('custom', {'train_path': '.'}))
    """
    if name in known:
        return name, {}
    if is_address(name):
        return "hf", {"train_path": name}
    path = Path(name).expanduser()
    if exists(path):
        reader = reader_of(path)
        splits = splits_of(path) if reader == "custom" and is_dir(path) else {}
        root = name.rstrip("/")
        paths = {f"{split}_path": f"{root}/{folder}" for split, folder in splits.items()}
        return reader, paths or {"train_path": name}
    if any(sign in name for sign in PATH_SIGNS):
        beside = [item.name for item in path.parent.iterdir()] if is_dir(path.parent) else []
        near = nearest(path.name, [*known, *beside])
        raise UserError(f"nothing lies at {path.absolute()}.{near}")
    return name, {}


def reader_of(path: Path) -> str:
    """Return the data set's name for what lies at a path: `custom`, or `hf` for shards.

    Raises:
        UserError: a file that no loader reads.
    """
    if holds_shards(path):
        return "hf"
    if is_dir(path) or path.suffix in H5_SUFFIXES:
        return "custom"
    raise UserError(no_folder(path))


def holds_shards(path: Path) -> bool:
    """Whether a file, or a folder that has no class folders, is a set of Arrow, Parquet or tar."""
    if not is_dir(path):
        return path.suffix in SHARDS
    items = [item for item in path.iterdir() if is_shown(item.name)]
    if any(item.name in SAVED for item in items):
        return True
    folders = [item for item in items if is_dir(item)]
    if not {folder.name for folder in folders} <= SPLIT_FOLDERS:  # they are classes
        return False
    items += [item for folder in folders for item in folder.iterdir()]
    return any(item.suffix in SHARDS for item in items)


def splits_of(path: Path) -> dict[str, str]:
    """Return the folders in `path` that hold class folders, by split: "train" and perhaps "val".

    That of "val" is the first of `VAL_SPLITS`. There are none where `train` has no class folders,
    or where `path` has another folder, which then is a class.
    """
    folders = {item.name for item in path.iterdir() if is_shown(item.name) and is_dir(item)}
    if "train" not in folders or not folders <= SPLIT_FOLDERS:
        return {}
    if not any(is_dir(item) for item in (path / "train").iterdir()):
        return {}
    val = next((name for name in VAL_SPLITS if name in folders), None)
    return {"train": "train"} | ({"val": val} if val else {})


def is_shown(name: str) -> bool:
    """Whether a file or folder counts; hidden ones and those of `MADE_BY_SYSTEMS` do not."""
    return not name.startswith(".") and name not in MADE_BY_SYSTEMS


def no_folder(path: Path) -> str:
    """Say that a file is not a folder of images, and what to do with one of its kind."""
    if path.suffix in (".zip", ".gz", ".tgz", ".xz", ".7z", ".rar"):
        return f"{path} is an archive: unpack it, and name the folder"
    return (
        f"{path} is a file, not a folder of images; files that are read end in "
        f"{', '.join([*H5_SUFFIXES, *SHARDS])}"
    )


def no_such(name: str) -> str:
    """Say that a folder's name would do in place of a data set's, and that there is none."""
    return f"; or a folder of your images, but nothing lies at {Path(name).expanduser().absolute()}"
