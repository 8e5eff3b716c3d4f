"""Parquet files of the hub, or at any address that fsspec opens, read while training goes on.

A file's row groups are its blocks. A block is fetched when the first of its images is asked for,
and kept in a folder of limited size. An epoch's order (see `sampling.in_window`) asks for images of
few blocks at a time. So training begins at once, and the whole set never has to fit on the disk.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import lru_cache, partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from torch import Tensor

from solo_registry.config.data_schema import DataConfig
from solo_registry.config.settings import setting
from solo_registry.data.blocks import BlockCache
from solo_registry.data.folder import with_progress
from solo_registry.data.rows import RowFiles
from solo_registry.errors import Unreachable, UserError

Read = TypeVar("Read")
AT_ONCE = 16  # files whose ends are read at the same time
WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before a further try
SAMPLED_BLOCKS = 4
OPEN = 256  # blocks that a process keeps open; a window of 16,384 images has 164 of 100 images
# another try would meet them too; the last one says that a file is no Parquet
FINAL = (FileNotFoundError, PermissionError, UserError, pa.ArrowInvalid)


class ParquetRows:
    """The rows of Parquet files at addresses, read a row group at a time.

    Args:
        files: addresses, as fsspec takes them.
        data: the config's `data` section, for `stream_cache_gb`.

    Attributes:
        features: types of the columns, as `datasets` has them.
        starts: (blocks + 1,) first row of each block, and the number of all rows.
        groups: of each block, its file, its number there, and a hash of the file's state.

    Raises:
        UserError: a file cannot be read, or has other columns than the first.
    """

    def __init__(self, files: Sequence[str], data: Any) -> None:
        import datasets

        self.files = list(files)
        with ThreadPool(AT_ONCE) as pool:
            read = pool.imap(lambda file: _from_file(file, _end), self.files)
            ends = list(with_progress(read, len(files), "looking into files", AT_ONCE))
        schema = ends[0][0]
        for file, (other, _, _) in zip(self.files, ends, strict=True):
            if other.names != schema.names:
                raise UserError(
                    f"{file} has the columns {', '.join(other.names)}, {self.files[0]} has "
                    f"{', '.join(schema.names)}"
                )
        self.features = datasets.Features.from_arrow_schema(schema)
        self.groups = [
            (file, group, state)
            for file, (_, rows, state) in enumerate(ends)
            for group in range(len(rows))
        ]
        rows = [count for _, counts, _ in ends for count in counts]
        self.starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.chosen: str | None = None
        self.folder = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / "dyntemp_blocks"
        self.most = setting(data, "stream_cache_gb", DataConfig.stream_cache_gb) * 1e9

    def __len__(self) -> int:
        return int(self.starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of all rows, such as the labels."""
        with ThreadPool(AT_ONCE) as pool:
            whole = partial(_from_file, read=lambda file: file.read(columns=[name]))
            read = pool.imap(whole, self.files)
            tables = list(with_progress(read, len(self.files), f"reading {name}", AT_ONCE))
        return pa.concat_tables(tables).column(name)

    def only(self, name: str) -> ParquetRows:
        """Return the same rows with one column, which is what is fetched."""
        chosen = copy(self)
        chosen.chosen = name
        return chosen

    def __getitem__(self, row: int) -> pa.Table:
        block = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.block(block).slice(row - int(self.starts[block]), 1)

    def block(self, block: int) -> pa.Table:
        """Return the chosen column of a block, from the cache or from its file."""
        file, group, state = self.groups[block]
        return _kept(self.folder, self.most, self.files[file], group, self.chosen, state)

    def state(self) -> str:
        """Return a hash of the number of rows and of bytes of each block."""
        text = repr([self.starts.tolist(), [state for _, _, state in self.groups]])
        return hashlib.sha256(text.encode()).hexdigest()


class StreamedFiles(RowFiles):
    """Image files in the rows of `ParquetRows`."""

    rows: ParquetRows

    @property
    def blocks(self) -> Tensor:
        """The block of each image, (N,) int64."""
        rows = self._paths.astype(np.int64)
        return torch.from_numpy(np.searchsorted(self.rows.starts, rows, side="right") - 1)

    def sample(self, count: int) -> list[int]:
        """Return images of a few blocks, spread over the set."""
        starts = torch.linspace(0, len(self) - 1, SAMPLED_BLOCKS + 1).long()[:-1].tolist()
        each = max(1, count // SAMPLED_BLOCKS)
        return sorted({min(start + i, len(self) - 1) for start in starts for i in range(each)})

    def covered(self) -> Iterator[bytes]:
        """Yield the number of rows and of bytes of all blocks: reading an image fetches one."""
        yield self.rows.state().encode()


def addresses(datasets: Any, place: str, named: bool) -> dict[str, list[str]]:
    """Return the addresses of a set's files by split.

    Args:
        datasets: the library.
        place: a name on the hub, or a folder, a file, an address or a pattern of files.
        named: whether it is a name on the hub, or a folder.

    Raises:
        UserError: the files are not Parquet.
    """
    if named:
        builder = datasets.load_dataset_builder(place)
    else:
        builder = datasets.load_dataset_builder("parquet", data_files=place)
    found = getattr(builder.config, "data_files", None) or {}
    splits = {str(split): [str(file) for file in files] for split, files in found.items()}
    other = [file for files in splits.values() for file in files if not file.endswith(".parquet")]
    if named and (other or not splits):
        raise UserError(
            f"data.streaming=true reads Parquet files, {place} has {(other or ['none'])[0]}; "
            "data.streaming=false reads what the library datasets does"
        )
    return splits


def patiently(read: Callable[[], Read], what: str) -> Read:
    """Read from the net: try again after errors, which may be those of a moment.

    Args:
        read: what to try.
        what: its name, for the error.

    Raises:
        Unreachable: the last try failed as well.
    """
    for wait in (*WAITS, None):
        try:
            return read()
        except Exception as error:  # file systems and their clients raise errors of their own
            if wait is None or isinstance(error, FINAL):
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise Unreachable(f"cannot read {what}: {reason}") from error
            time.sleep(wait)
    raise AssertionError("the last wait is None")


def _open(file: str) -> Any:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(file)
    return system.open(path, "rb", cache_type="none")  # Parquet asks for just what it needs


def _from_file(file: str, read: Callable[[Any], Read], what: str = "") -> Read:
    """Return what `read` takes out of a Parquet file, patiently; `what` names it in an error."""

    def attempt() -> Read:
        with _open(file) as opened:
            return read(parquet.ParquetFile(opened, pre_buffer=True))  # neighbours in one request

    return patiently(attempt, what or file)


def _end(file: Any) -> tuple[pa.Schema, list[int], str]:
    """Return the columns of a file, the rows of each of its groups, and a hash of its state."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    sizes = [
        [group.column(i).total_compressed_size for i in range(group.num_columns)]
        for group in groups
    ]
    state = hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]
    return file.schema_arrow, [group.num_rows for group in groups], state


@lru_cache(maxsize=OPEN)
def _kept(
    folder: Path, most: float, file: str, group: int, column: str | None, state: str
) -> pa.Table:
    """Return a column of a row group: kept in this process, or in the cache, or fetched."""
    what = f"{file}, row group {group}"

    def fetch() -> pa.Table:
        return _from_file(file, lambda opened: opened.read_row_group(group, [column]), what)

    key = hashlib.sha256(repr((file, group, column, state)).encode()).hexdigest()
    cache = BlockCache(folder, most)
    try:
        return cache.get(key, fetch)
    except OSError as error:
        raise Unreachable(f"cannot keep {what} in {folder}: {error.strerror or error}") from error
