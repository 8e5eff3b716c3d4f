"""Reads the files of runs; a file that cannot be trusted is reported as a problem with its name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from omegaconf import OmegaConf

from solo_registry.config.identity import is_named
from solo_registry.config.overrides import key_of
from solo_registry.config.schema import EvaluationConfig
from solo_registry.errors import UserError
from solo_registry.runs.read import read_yaml
from solo_registry.runs.run_folder import RunFolder

Status = Literal["finished", "failed", "unfinished", "damaged"]


@dataclass
class Record:
    """The content of one run folder.

    Attributes:
        path: the folder.
        status: "finished" only if the result can be trusted.
        result: result.json, empty unless finished.
        cost: cost.json, or empty.
        machine: device, threads and torch version of environment.json, as text.
        problem: the reason why the run does not count; empty if it counts.
    """

    path: Path
    status: Status
    result: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    machine: str = ""
    problem: str = ""

    @property
    def hash(self) -> str:
        """Hash of the config, which names the folder above."""
        return self.path.parent.name

    @property
    def seed(self) -> str:
        """The seed, which names the folder."""
        return self.path.name

    def value(self, metric: str, row: str = "trained") -> float | None:
        """Return a number of the result, or None if the result does not have it."""
        value = self.result.get("results", {}).get(row, {}).get(metric)
        return float(value) if isinstance(value, int | float) else None

    def lacks(self, words: Sequence[str]) -> bool:
        """Whether the run was measured without something that a job's arguments request."""
        own = [word.lstrip("+") for word in words if key_of(word).startswith("evaluation.")]
        given = OmegaConf.from_dotlist(own).get("evaluation", {})
        asked: Any = OmegaConf.merge(OmegaConf.structured(EvaluationConfig), given)
        had = self.result.get("evaluation", {})
        return any(asked[key] and had.get(key) is False for key in ("linear", "baselines"))

    def curve(self) -> pd.DataFrame:
        """Return metrics.csv; an empty table if the file does not exist."""
        path = self.path / "metrics.csv"
        return pd.read_csv(path) if path.is_file() else pd.DataFrame()


def read_record(path: Path) -> Record:
    """Read a run folder; bad content becomes the record's `problem` and raises nothing."""
    run = RunFolder(path)
    try:
        result = run.read_result()
        problem = "" if result is None else _foreign(run, result)
    except (UserError, UnicodeDecodeError) as error:
        return Record(path, "damaged", problem=str(error))
    if problem:
        return Record(path, "damaged", problem=problem)
    cost = json_or_empty(path / "cost.json")
    if result is not None:
        return Record(path, "finished", result, cost, _machine(path, cost))
    if run.error.exists():
        reason = str(json_or_empty(run.error).get("error") or f"{run.error} is damaged")
        return Record(path, "failed", cost=cost, problem=" ".join(reason.split()))
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


def _foreign(run: RunFolder, result: dict[str, Any]) -> str:
    """Return the reason why a result does not belong to its folder; empty if it does."""
    claims = f"{result.get('config_hash')}/{result.get('seed')}"
    if claims != run.identity:
        return f"{run.result} belongs to another run: it says {claims}, its folder {run.identity}"
    try:
        cfg: Any = read_yaml(run.path / "resolved.yaml")
        known = is_named(cfg, run.path.parent.name) and str(cfg.seed) == run.path.name
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return f"{run.path}/resolved.yaml is missing, damaged or of another version: {reason}"
    if not known:
        return (
            f"{run.path}/resolved.yaml belongs to another run: its hash or seed does not match its "
            "folder, or an older version named the run in another way"
        )
    return ""


def json_or_empty(path: Path) -> dict[str, Any]:
    """Read an optional JSON object; return an empty one if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _machine(path: Path, cost: dict[str, Any]) -> str:
    found = json_or_empty(path / "environment.json")
    if not found:
        return ""
    gpus = ", ".join(found.get("gpus") or []) if cost.get("device") != "cpu" else ""
    torch = found.get("versions", {}).get("torch", "?")
    return f"{gpus or 'CPU'}, {found.get('threads', '?')} threads, torch {torch}"
