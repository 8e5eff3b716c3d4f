"""The files of a board: the list of its runs, and the selected points."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solo_registry.errors import UserError
from solo_registry.jobs.job import Job
from solo_registry.runs.records import Record, read_record

BOARD_VERSION = 1


@dataclass
class Board:
    """A folder with board.json (the plan), selected.json (the result of tuning) and a report."""

    path: Path
    plan: dict[str, Any]
    selected: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Board:
        """Read a board.

        Raises:
            UserError: a file is missing, damaged or of another version.
        """
        plan = _read(path / "board.json")
        if (found := plan.get("schema_version")) != BOARD_VERSION:
            raise UserError(
                f"{path / 'board.json'} has schema version {found}, this version reads "
                f"{BOARD_VERSION}: run the suite again, finished runs are kept"
            )
        selected = path / "selected.json"  # does not exist while the tuning runs
        return cls(path, plan, _read(selected) if selected.exists() else {})

    @property
    def runs_dir(self) -> Path:
        """Return the folder of the runs."""
        return self.path / str(self.plan["runs_dir"])

    def records(self) -> dict[Job, Record]:
        """Read the run of every job, in the order of the plan."""
        jobs = [
            Job(**{**job, "point": tuple(job["point"]), "words": tuple(job["words"])})
            for job in self.plan["jobs"]
        ]
        return {job: read_record(self.runs_dir / job.path) for job in jobs}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no board at {path.parent}: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run the suite again") from error
    return content
