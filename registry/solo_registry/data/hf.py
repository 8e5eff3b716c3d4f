"""Sets of the Hugging Face `datasets` library: Arrow and Parquet files, tar shards, the hub.

`datasets` maps its files into memory, so that any image is read when it is asked for, by its row.
That is what our draws and an exact resume need. With `data.streaming=true` the rows are those of
Parquet files that stay where they are; see `streamed`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solo_registry.config.own_data import SAVED, SHARDS, VAL_SPLITS, is_address
from solo_registry.config.settings import setting
from solo_registry.data.folder import open_files, with_classes
from solo_registry.data.rows import RowFiles
from solo_registry.data.sets import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    UNLABELLED,
    ImageSet,
    SetInfo,
    Split,
)
from solo_registry.data.streamed import ParquetRows, StreamedFiles, addresses
from solo_registry.errors import UserError, nearest
from solo_registry.paths import exists, is_dir

LABELS = ("label", "labels", "cls", "class", "target", "fine_label")


def hf(data: Any, split: Split) -> ImageSet | None:
    """Open a split of a `datasets` set.

    `data.train_path` is a folder or file on disk: what `dyntemp pack-data` or `save_to_disk`
    wrote, Parquet or Arrow files, or WebDataset's tar files. `data.name` is a name on the hub, in
    its place. With `data.streaming=true` it can also be the address of a Parquet file. The images
    are in the one column of images, or `data.image_column`; the labels in the one column of
    classes, or `data.label_column`.

    Args:
        data: the config's `data` section.
        split: "train" is the set's `train`; "val" is the first of `VAL_SPLITS` that the set has,
            or `train` of `data.val_path`.

    Returns:
        The images; None for "val" where there is none.

    Raises:
        UserError: `datasets` is not installed, no such set or column, or a label that is unknown.
    """
    train, place = _rows(data, "train")
    label = None if setting(data, "no_labels", False) else _label_column(train, data, place)
    rows = train
    if split == "val":
        rows, place = _rows(data, "val")
        if rows is None:
            return None
    column = _image_column(rows, data, place)
    info = SetInfo("hf", 0, 3, None, IMAGENET_MEAN, IMAGENET_STD, ())
    labels: Sequence[int] = [UNLABELLED] * len(rows)
    if label is not None:
        classes = _classes(train, label)
        info, labels = with_classes(info, classes), _labels(rows, label, classes, place)
    names = [str(row) for row in range(len(rows))]
    streamed = isinstance(rows, ParquetRows)
    kind = StreamedFiles if streamed else RowFiles
    images = open_files(info, place, names, labels, data, kind=kind)
    assert isinstance(images, RowFiles)
    # as Arrow it is a third faster
    images.rows = (
        rows.only(column) if streamed else rows.select_columns([column]).with_format("arrow")
    )
    return images


def _rows(data: Any, split: Split) -> tuple[Any, Path]:
    """Return the rows of a split, images not decoded, and the place they come from."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("data=hf needs datasets: pip install 'solo-dyntemp[hf]'") from error
    own = setting(data, "val_path", None) if split == "val" else None
    named, path = setting(data, "name", None), own or setting(data, "train_path", None)
    if (named is None) == (path is None) and own is None:
        raise UserError(
            "data=hf needs one of data.train_path (a folder or file on disk) and data.name (a set "
            f"on the hub), got {'both' if named else 'neither'}"
        )
    streaming = setting(data, "streaming", False)
    if not streaming and setting(data, "shuffle_window", None) is not None:
        raise UserError("data.shuffle_window needs data.streaming=true; else all is shuffled")
    splits, place = _splits(datasets, path or named, path is None, data)
    chosen = setting(data, "train_split", None) or "train"
    if split == "val" and own is None:
        found = [name for name in VAL_SPLITS if name in splits and name != chosen]
        if not found:
            return None, place
        chosen = found[0]
    if len(splits) == 1 and (own or chosen == "train"):
        (chosen,) = splits
    if chosen not in splits:
        raise UserError(
            f"{place} has no split '{chosen}' (data.train_split).{nearest(chosen, splits)} It has: "
            f"{', '.join(splits)}"
        )
    rows: Any = ParquetRows(splits[chosen], data) if streaming else splits[chosen]
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image) and not streaming:  # which decodes nothing
            rows = rows.cast_column(name, datasets.Image(decode=False))
    if not len(rows):
        raise UserError(f"split '{chosen}' of {place} has no rows")
    return rows, place


def _splits(datasets: Any, address: str, named: bool, data: Any) -> tuple[Mapping[str, Any], Path]:
    """Return the rows of each split, or its addresses where they are streamed; and their place."""
    streaming, remote = setting(data, "streaming", False), is_address(address)
    if remote and not streaming:
        raise UserError(f"{address} is an address: data.streaming=true reads from it")
    place = Path(address.partition("://")[2] if remote else address).expanduser()
    try:
        if streaming:
            whole = named or (not remote and is_dir(place))
            return addresses(datasets, address if remote else str(place), whole), place
        return _from_hub(datasets, address, data) if named else _from_disk(datasets, place), place
    except UserError:
        raise
    except Exception as error:  # the library raises whatever its file systems meet
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"datasets cannot open {place}: {reason}") from error


def _from_hub(datasets: Any, name: str, data: Any) -> dict[str, Any]:
    """Open a set of the hub; without `data.download` only what is in the library's cache."""
    if setting(data, "download", False):
        return dict(datasets.load_dataset(name))
    try:
        with _offline(datasets):
            return dict(datasets.load_dataset(name))
    except Exception as error:  # the library raises whatever its file systems meet
        raise UserError(
            f"data.name={name} is not in the cache of datasets; data.download=true fetches it"
        ) from error


@contextmanager
def _offline(datasets: Any) -> Iterator[None]:
    """Let the library ask nobody; HF_HUB_OFFLINE=1 would do so if it were set before the import."""
    import huggingface_hub.constants

    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _from_disk(datasets: Any, path: Path) -> dict[str, Any]:
    """Open the splits of a folder or file."""
    if not exists(path):
        raise UserError(f"data path {path} does not exist")
    if any(exists(path / name) for name in SAVED):
        found = datasets.load_from_disk(str(path))
        return dict(found) if isinstance(found, dict) else {"train": found}
    packed = sorted(path.glob("*.arrow")) if is_dir(path) else [path]
    if packed and packed[0].suffix == ".arrow":  # mapped into memory as they are
        splits: dict[str, list[Any]] = {}
        for file in packed:
            splits.setdefault(file.stem.split("-")[0], []).append(
                datasets.Dataset.from_file(str(file))
            )
        return {name: datasets.concatenate_datasets(parts) for name, parts in splits.items()}
    if is_dir(path):
        return dict(datasets.load_dataset(str(path)))
    if path.suffix not in SHARDS:
        raise UserError(f"{path} must be a folder, or end in {', '.join(SHARDS)}")
    return dict(datasets.load_dataset(SHARDS[path.suffix], data_files=os.fspath(path)))


def _image_column(rows: Any, data: Any, place: Path) -> str:
    """Return the name of the column of images."""
    import datasets

    known = [
        name
        for name, feature in rows.features.items()
        if isinstance(feature, datasets.Image)
        or (isinstance(feature, datasets.Value) and feature.dtype in ("binary", "large_binary"))
    ]
    return _one("image", known, rows, data, place, "")


def _label_column(rows: Any, data: Any, place: Path) -> str:
    """Return the name of the column of labels."""
    import datasets

    features = rows.features
    known = [name for name in features if isinstance(features[name], datasets.ClassLabel)]
    known = known or [
        name for name in LABELS if name in features and isinstance(features[name], datasets.Value)
    ]
    return _one("label", known, rows, data, place, "; data.no_labels=true takes none")


def _one(what: str, known: Sequence[str], rows: Any, data: Any, place: Path, more: str) -> str:
    """Return the column that the config names, or else the only one of its kind."""
    named = setting(data, f"{what}_column", None)
    every = list(rows.features)
    if named is not None and named not in every:
        raise UserError(
            f"data.{what}_column={named} is no column of {place}.{nearest(named, every)} It has: "
            f"{', '.join(every)}"
        )
    if named is None and len(known) != 1:
        found = f"several columns of {what}s: {', '.join(known)}" if known else f"no {what} column"
        raise UserError(
            f"{place} has {found}; set data.{what}_column to one of {', '.join(every)}{more}"
        )
    return named or known[0]


def _classes(rows: Any, column: str) -> list[str]:
    """Return the names of the classes: those that the set declares, or all values, sorted."""
    names = getattr(rows.features[column], "names", None)
    if names is not None:
        return list(names)
    values = _values(rows, column).unique().to_pylist()
    if rows.features[column].dtype == "string":
        return sorted(values)
    return [str(label) for label in range(max(values, default=-1) + 1)]


def _labels(rows: Any, column: str, classes: Sequence[str], place: Path) -> list[int]:
    """Return each row's class as its place in `classes`, which are those of train."""
    if column not in rows.features:
        raise UserError(f"{place} has no column '{column}', which train has")
    feature = rows.features[column]
    values = _values(rows, column).to_pylist()
    names = getattr(feature, "names", None)
    if names is None and feature.dtype != "string":
        return [UNLABELLED if value is None else int(value) for value in values]
    place_of = {name: label for label, name in enumerate(classes)}
    spelled = values if names is None else [None if v in (None, -1) else names[v] for v in values]
    try:
        return [UNLABELLED if name is None else place_of[name] for name in spelled]
    except KeyError as error:
        unknown = str(error.args[0])
        raise UserError(
            f"{place} has a class '{unknown}' that train does not.{nearest(unknown, classes)}"
        ) from error


def _values(rows: Any, column: str) -> Any:
    """Return a column of all rows, as an Arrow array."""
    if isinstance(rows, ParquetRows):
        return rows.column(column)
    return rows.select_columns([column]).with_format("arrow")[:].column(0)
