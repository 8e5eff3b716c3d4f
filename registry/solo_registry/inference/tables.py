"""A result per image file as a table: on disk as parquet, csv, json or npz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solo_registry.errors import UserError, nearest
from solo_registry.runs.run_folder import atomic_write


def _npz(table: pd.DataFrame, file: Any) -> None:
    values = table.select_dtypes("number")
    arrays: dict[str, Any] = {
        str(key): table[key].to_numpy(str) for key in table.columns.difference(values.columns)
    }
    arrays["path"] = table.index.to_numpy(str)
    arrays["values"] = values.to_numpy(np.float32)
    arrays["columns"] = values.columns.to_numpy(str)
    np.savez_compressed(file, allow_pickle=False, **arrays)


WRITERS: dict[str, Callable[[pd.DataFrame, Any], None]] = {
    ".parquet": lambda table, file: table.to_parquet(file),
    ".csv": lambda table, file: table.to_csv(file, lineterminator="\n"),
    ".json": lambda table, file: table.reset_index().to_json(file, orient="records"),
    ".npz": _npz,
}
"""How a table is written, by suffix. npz holds `path`, `values` (N, D), `columns`, and text."""


def check_table_path(out: Path) -> None:
    """Refuse a path whose suffix is none of `WRITERS`, before the table is computed.

    Raises:
        UserError: naming the suffixes.
    """
    if out.suffix.lower() not in WRITERS:
        hint = nearest(out.suffix, WRITERS)
        raise UserError(f"--out {out} must end in one of {', '.join(WRITERS)}.{hint}")


def write_table(table: pd.DataFrame, out: Path) -> None:
    """Write a table with the image paths as its index, complete or not at all.

    Raises:
        UserError: another suffix, a full disk, or a folder that cannot be written.
    """
    check_table_path(out)
    with atomic_write(out) as part, part.open("wb") as file:
        WRITERS[out.suffix.lower()](table, file)
