"""Writes folders of images as Arrow shards, which `data=hf` maps into memory as they are.

A set of a million files takes minutes to list and check on a cluster's disk; its shards open in
seconds. The files' bytes stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console
from rich.progress import track

from solo_registry.console import terminal
from solo_registry.data.custom import custom
from solo_registry.data.folder import FolderSet
from solo_registry.data.pixels import defect
from solo_registry.data.sets import ImageSet
from solo_registry.errors import UserError
from solo_registry.paths import as_text, exists
from solo_registry.runs.lock import held
from solo_registry.runs.run_folder import atomic_folder

ROWS = 1000  # rows of a record batch
SPLITS = ("train", "val")


def pack_data(
    train: Path,
    out: Path,
    *,
    val: Path | None = None,
    labels: bool = True,
    shard_mb: int = 256,
    console: Console | None = None,
) -> dict[str, int]:
    """Write the image files of one or two folders as shards of a `datasets` set.

    Args:
        train: a folder per class, or any folder if `labels` is false; see `data.custom`.
        out: the new folder. It appears when it is complete.
        val: the folder of the test images, with the classes of `train`.
        labels: whether the folders in `train` are classes.
        shard_mb: megabytes of images after which a new shard begins.
        console: where progress is shown.

    Returns:
        The number of images of each split.

    Raises:
        UserError: `out` exists, `datasets` is not installed, or a file cannot be read.
    """
    if find_spec("datasets") is None:
        raise UserError("pack-data needs datasets: pip install 'solo-dyntemp[hf]'")
    if exists(out):
        raise UserError(f"{out} exists: give the name of a new folder")
    keys = SimpleNamespace(
        train_path=str(train), val_path=val and str(val), no_labels=not labels, channels=None
    )
    counts = {}
    with held(out, console or terminal()), atomic_folder(out, "") as part:
        for split in SPLITS:
            images = custom(keys, split)  # type: ignore[arg-type]
            if images is not None:
                counts[split] = len(images)
                _write_split(images, part, split, labels, shard_mb * 2**20, console)
    return counts


def _write_split(
    images: ImageSet, folder: Path, split: str, labels: bool, size: int, console: Console | None
) -> None:
    """Write the images of a split into shards."""
    import datasets

    if not isinstance(images, FolderSet):
        raise UserError(f"{split}: only folders of image files can be packed")
    columns: dict[str, Any] = {"image": datasets.Image(), "file": datasets.Value("string")}
    if labels:
        columns["label"] = datasets.ClassLabel(names=list(images.info.class_names))
    schema = datasets.Features(columns).arrow_schema
    what = f"packing {split}"
    files = track(range(len(images)), what, console=console, transient=True)
    rows = (_row(images, index, labels) for index in files)
    write_shards(rows, folder, split, schema, size)


def _row(images: FolderSet, index: int, labels: bool) -> dict[str, Any]:
    """Return one image's row; refuse a file that cannot be read."""
    path = images.path(index)
    try:
        content = images.content(index)
        if problem := defect(io.BytesIO(content)):
            raise UserError(f"cannot read image {path}: {problem}; repair it, or move it away")
    except OSError as error:
        raise UserError(f"cannot read image {path}: {error}") from error
    name = as_text(path.relative_to(images.root).as_posix())
    row = {"image": {"bytes": content, "path": as_text(path.name)}, "file": name}
    return row | {"label": int(images.targets[index])} if labels else row


def write_shards(
    rows: Iterator[dict[str, Any]], folder: Path, split: str, schema: Any, size: int
) -> None:
    """Write rows to `<split>-00000.arrow` and so on, each of about `size` bytes of images."""
    import pyarrow as pa

    shard, row = 0, next(rows, None)
    while row is not None:
        written = 0
        path = folder / f"{split}-{shard:05d}.arrow"
        with path.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
            while row is not None and written < size:
                batch: list[dict[str, Any]] = []
                while row is not None and len(batch) < ROWS and written < size:
                    batch.append(row)
                    written += len(row["image"]["bytes"])
                    row = next(rows, None)
                stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
        shard += 1
