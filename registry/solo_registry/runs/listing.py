"""All runs under a folder as one table."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.text_file import leaves
from solo_registry.errors import UserError
from solo_registry.paths import is_file
from solo_registry.runs.find import run_folders
from solo_registry.runs.read import read_settings
from solo_registry.runs.records import read_record

COLUMNS = (
    "run", "state", "method", "data", "split", "epochs", "knn", "probe", "date", "megabytes",
)  # fmt: skip


def list_runs(runs_dir: Path) -> pd.DataFrame:
    """Return a row per run, the newest first; no rows if there is no run.

    Columns: `run` is name/hash/seed, `state` is finished, unfinished, failed or damaged, `split`
    says where accuracies were measured (a run on a validation split is made for tuning), `knn` and
    `probe` are the trained backbone's accuracies in percent, `date` is that of the newest file.
    """
    rows = [_row(path) for path in run_folders(runs_dir)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("date", ascending=False, ignore_index=True)


def _row(path: Path) -> tuple[object, ...]:
    record = read_record(path)
    files = [file.stat() for file in path.rglob("*") if is_file(file)]
    cfg = _config(path)
    return (
        "/".join(path.parts[-3:]),
        record.status,
        cfg.get("method"),
        cfg.get("data.dataset"),
        "validation" if cfg.get("data.validation_fraction") else "test",
        record.result.get("epochs", record.cost.get("epochs", 0)),
        record.value("knn_acc1"),
        record.value("linear_acc1"),
        datetime.fromtimestamp(max(file.st_mtime for file in files)).replace(microsecond=0),
        round(sum(file.st_size for file in files) / 2**20, 1),
    )


def _config(path: Path) -> dict[str, Any]:
    """Return the values of resolved.yaml by their keys, without checks; none if it is damaged."""
    try:
        return dict(leaves(read_settings(path / "resolved.yaml")))
    except (UserError, OmegaConfBaseException):  # a listing shows damaged runs too
        return {}


def differences(one: Path, other: Path) -> pd.DataFrame:
    """Return the config keys in which two runs differ, with both values."""
    first, second = (_config(path) for path in (one, other))
    keys = sorted(first.keys() | second.keys())
    rows = {key: (first.get(key), second.get(key)) for key in keys}
    changed = {key: pair for key, pair in rows.items() if pair[0] != pair[1]}
    return pd.DataFrame.from_dict(changed, orient="index", columns=["A", "B"], dtype=object)
