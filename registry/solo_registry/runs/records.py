"""Reads the files of runs; a file that cannot be trusted is reported as a problem with its name."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from solo_registry.config.identity import is_named
from solo_registry.config.json_file import LARGEST, read_shaped
from solo_registry.config.schema import EvaluationConfig
from solo_registry.config.text_file import open_file
from solo_registry.errors import UserError
from solo_registry.paths import exists
from solo_registry.runs.read import read_settings
from solo_registry.runs.run_folder import RunFolder
from solo_registry.runs.shapes import Cost, Environment, Failure

Status = Literal["finished", "failed", "unfinished", "damaged"]
MEASURED_BY = ("knn_k", "knn_temperature", "max_train")  # settings that change a run's numbers


@dataclass(eq=False)
class Record:
    """The content of one run folder.

    Attributes:
        path: the folder.
        status: "finished" only if the result can be trusted.
        result: result.json, empty unless finished.
        cost: cost.json, or empty.
        machine: device, threads and torch version of environment.json, as text; of a CPU also its
            model, instruction sets and BLAS, where the run's version wrote them.
        problem: the reason why the run does not count; empty if it counts.
        curve: metrics.csv of a finished run; empty if there is none.
    """

    path: Path
    status: Status
    result: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    machine: str = ""
    problem: str = ""
    curve: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def hash(self) -> str:
        """Hash of the config, which names the folder above."""
        return RunFolder(self.path).hash

    @property
    def seed(self) -> str:
        """The seed, which names the folder."""
        return RunFolder(self.path).identity.rpartition("/")[2]

    def value(self, metric: str, row: str = "trained") -> float | None:
        """Return a number of the result, or None if the result does not have it."""
        value = self.result.get("results", {}).get(row, {}).get(metric)
        return float(value) if isinstance(value, int | float) else None

    def protocol(self, metric: str) -> str:
        """Return how a number was measured and on which split; empty if the result does not say."""
        text = self.result["protocols"].get(metric)
        return f"{text} of the {self.result['split']} split" if text else ""

    def lacks(self, evaluation: Any) -> bool:
        """Whether the run was measured with less than `evaluation` asks for, or by other settings.

        Args:
            evaluation: the `evaluation` section of a run's config.
        """
        if not self.result:
            return False
        had = asdict(EvaluationConfig()) | self.result["evaluation"]
        less = any(evaluation[key] and had[key] is False for key in ("linear", "baselines"))
        return less or any(evaluation[key] != had[key] for key in MEASURED_BY)


def read_record(path: Path) -> Record:
    """Read a run folder; bad content becomes the record's `problem` and raises nothing."""
    run = RunFolder(path)
    try:
        result = run.read_result()
        if result is not None:
            _refuse_foreign(run, result)
            run.refuse_changed_metrics()
            cost = _optional(path / "cost.json", Cost)
            return Record(path, "finished", result, cost, _machine(path, cost),
                          curve=read_metrics(run.metrics, result.get("epochs")))  # fmt: skip
    except (UserError, OSError) as error:
        return Record(path, "damaged", problem=str(error))
    cost = {}
    with suppress(UserError):  # it is written again when the run goes on
        cost = _optional(path / "cost.json", Cost)
    if exists(run.error):
        try:
            reason = _optional(run.error, Failure).get("error", "")
        except UserError as error:
            reason = str(error)
        problem = " ".join(reason.split()) or f"{run.error} gives no reason"
        return Record(path, "failed", cost=cost, problem=problem)
    epochs = cost.get("epochs", 0)
    return Record(path, "unfinished", cost=cost, problem=f"not finished, {epochs} epochs done")


def find_records(runs_dir: Path) -> list[Record]:
    """Read every run folder under `runs_dir`, in the order of their paths.

    Raises:
        UserError: there is no run folder.
    """
    marks = ("resolved.yaml", "result.json", "error.json")
    paths = sorted({file.parent for mark in marks for file in runs_dir.rglob(mark)})
    if not paths:
        raise UserError(f"no run folder (runs/<name>/<hash>/<seed>) under {runs_dir}")
    return [read_record(path) for path in paths]


def contradictions(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Describe each (hash, seed) whose results differ between folders; none of these counts."""
    seen: dict[tuple[str, str], Record] = {}
    problems = {}
    for record in records:
        if record.status != "finished":
            continue
        key = (record.hash, record.seed)
        first = seen.setdefault(key, record)
        if _differ(first, record):
            problems[key] = f"{first.path} and {record.path}: one config and seed, unequal results"
    return problems


def _differ(one: Record, other: Record) -> bool:
    """Whether two records differ in a number that both have."""
    mine, theirs = one.result["results"], other.result["results"]
    return any(
        mine[row].get(key) != value
        for row in mine.keys() & theirs.keys()
        for key, value in theirs[row].items()
        if None not in (value, mine[row].get(key))
    )


def unlike(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Describe each (hash, seed) that was measured in another way than most of these records.

    The means of a table are over runs that were measured alike: by equal protocols, on one split
    and on as many images. If no way has the majority, none of the records counts.
    """
    finished = [record for record in records if record.status == "finished"]
    ways = [_way(record) for record in finished]
    counts = Counter(tuple(way.items()) for way in ways)
    if len(counts) < 2:
        return {}
    (common, count), *_ = counts.most_common(1)
    usual = dict(common) if 2 * count > len(ways) else None
    problems = {}
    for record, way in zip(finished, ways, strict=True):
        others = next(other for other in ways if other != way) if usual is None else usual
        both = [key for key in way if None not in (way[key], others.get(key))]
        if differing := [key for key in both if way[key] != others[key]]:
            key = differing[0]
            problems[record.hash, record.seed] = (
                f"measured in another way than other seeds, {key}: '{way[key]}' and not "
                f"'{others[key]}'; measure them alike: dyntemp evaluate RUN"
            )
    return problems


def _way(record: Record) -> dict[str, Any]:
    """Return how a run was measured."""
    counts = {key: record.result.get(key) for key in ("split", "train_images", "test_images")}
    return dict(sorted(record.result["protocols"].items())) | counts


def _refuse_foreign(run: RunFolder, result: dict[str, Any]) -> None:
    """Refuse a result that does not belong to its folder.

    Raises:
        UserError: its hash or seed is another, or the config is damaged.
    """
    claims = f"{result['config_hash']}/{result['seed']}"
    if claims != run.identity:
        raise UserError(
            f"{run.result} belongs to another run: it says {claims}, its folder {run.identity}"
        )
    try:
        cfg = read_settings(run.path / "resolved.yaml")
        known = is_named(cfg, run.hash) and run.identity == f"{run.hash}/{cfg['seed']}"
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{run.path}/resolved.yaml is missing, damaged or of another version: {reason}"
        ) from error
    if not known:
        raise UserError(
            f"{run.path}/resolved.yaml belongs to another run: its hash or seed does not match its "
            "folder, or an older version named the run in another way"
        )


def _optional(path: Path, shape: Any) -> dict[str, Any]:
    """Read a file that a run may lack; return an empty dict if it does.

    Raises:
        UserError: the file is damaged.
    """
    if not exists(path):
        return {}
    found: dict[str, Any] = read_shaped(path, shape, f"a run's {path.name}", "remove it")
    return found


def _machine(path: Path, cost: dict[str, Any]) -> str:
    found = _optional(path / "environment.json", Environment)
    if not found:
        return ""
    gpus = ", ".join(found.get("gpus", [])) if cost.get("device") != "cpu" else ""
    torch = found.get("versions", {}).get("torch", "?")
    threads = f"{found.get('threads', '?')} threads"
    if gpus or "cpu" not in found:
        return f"{gpus or 'CPU'}, {threads}, torch {torch}"
    parts = (found["cpu"] or "CPU", found.get("instructions"), threads, f"torch {torch}")
    return ", ".join(filter(None, (*parts, found.get("blas"))))


def read_metrics(path: Path, epochs: int | None = None) -> pd.DataFrame:
    """Read metrics.csv; return an empty table if the file does not exist.

    Args:
        path: the file.
        epochs: the number of epochs that the table must end with; None accepts any.

    Raises:
        UserError: the table is cut off, has a cell that is no number, or lacks epochs.
    """
    if not exists(path):
        return pd.DataFrame()
    try:
        with open_file(path) as file:
            text = file.read().decode()
        table = _numbers(text)
        if epochs is not None and table["epoch"].max() != epochs - 1:
            raise ValueError(f"it does not end with epoch {epochs - 1}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return table


def _numbers(text: str) -> pd.DataFrame:
    """Read the table of a metrics.csv.

    Raises:
        ValueError: it is no table of numbers with ascending epochs.
    """
    lines = text.splitlines()
    if "\0" in text or not text.endswith("\n") or len({line.count(",") for line in lines}) != 1:
        raise ValueError("a line is cut off or overwritten")
    table = pd.read_csv(io.StringIO(text), index_col=False)
    for name, column in table.items():
        if column.dtype.kind not in "if" or (column.abs() > LARGEST).any():
            raise ValueError(f"column '{name}' holds more than numbers")
    epoch = table.get("epoch", pd.Series(dtype=float))
    if epoch.dtype.kind != "i" or (np.diff(epoch, prepend=-1) < 1).any():
        raise ValueError("the epochs do not ascend")
    return table
