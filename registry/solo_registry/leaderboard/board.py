"""The files of a board: the list of its runs, and the selected points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from statistics import fmean

from solo_registry.config.json_file import Number, read_shaped
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.job import Job
from solo_registry.leaderboard.replicates import shares
from solo_registry.leaderboard.suite import SuiteConfig, check_suite
from solo_registry.paths import exists
from solo_registry.runs.records import Record, read_record
from solo_registry.runs.run_folder import json_text, write_text

BOARD_VERSION = 1
CURE = "run the suite again, finished runs are kept"


@dataclass
class Plan:
    """The content of board.json.

    Attributes:
        schema_version: `BOARD_VERSION`.
        name: name of the suite.
        suite: the suite.
        words: the arguments that the user set for every run.
        seeds: the final seeds.
        runs_dir: the folder of all runs, seen from the board.
        jobs: the runs; the final ones join when the tuning is done.
    """

    schema_version: int
    name: str
    suite: SuiteConfig
    words: list[str]
    seeds: list[int]
    runs_dir: str
    jobs: list[Job]


@dataclass
class Tried:
    """A point of a strategy's grid, or of its extension.

    Attributes:
        point: its arguments.
        mean: mean of the values; None if a seed has none.
        values: the suite's metric by seed.
        errors: what kept a seed from a value.
        temperatures: the lowest and the highest at which its loss compares two images; None if the
            method has none, or for a board of an older version.
    """

    point: list[str]
    mean: Number | None
    values: dict[str, Number]
    errors: dict[str, str]
    temperatures: tuple[Number, Number] | None = None


@dataclass
class Choice:
    """What the tuning selected for a strategy: a point, or None, and why.

    Attributes:
        point: its arguments.
        why: the reason.
        points: all that were tried.
        notes: what a reader should know of the point: that it lies on the border of what was tried,
            or that it is the fixed temperature.
    """

    point: list[str] | None
    why: str
    points: list[Tried] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def picks(self, seeds: Sequence[int], replicates: int) -> list[list[str]]:
        """Return the point that each tuning selected: the highest mean over its share of seeds.

        A point counts only if it has a value for every seed; of equal points the first wins.

        Args:
            seeds: all tuning seeds.
            replicates: number of tunings.
        """
        if self.point is None or replicates == 1 or not self.points:
            return [] if self.point is None else [self.point] * replicates
        whole = [tried for tried in self.points if tried.mean is not None]
        return [
            max(whole, key=lambda tried: fmean(tried.values[str(seed)] for seed in share)).point
            for share in shares(seeds, replicates)
        ]


@dataclass
class Board:
    """A folder with board.json (the plan), selected.json (the result of tuning) and a report."""

    path: Path
    plan: Plan
    selected: dict[str, Choice] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Board:
        """Read a board.

        Raises:
            UserError: a file is missing, damaged or of another version, or the two do not agree.
        """
        file, selected = path / "board.json", path / "selected.json"
        if not exists(file):
            raise UserError(f"no board at {path}: it has no board.json")
        board = cls(path, read_shaped(file, Plan, "a board's plan", CURE, BOARD_VERSION))
        if exists(selected):  # not while the tuning runs
            what = "a board's selection"
            board.selected = read_shaped(selected, dict[str, Choice], what, CURE)
        try:
            check_suite(board.plan.name, board.plan.suite)
            board.check()
        except UserError as error:
            raise UserError(f"{file}: {error}; {CURE}") from error
        return board

    def check(self) -> None:
        """Refuse what no command of ours writes: jobs of nobody, or outside of `runs_dir`."""
        known, jobs = self.plan.suite.strategies, self.plan.jobs
        for name in (self.plan.suite.reference, *self.selected, *(job.strategy for job in jobs)):
            if name not in known:
                raise UserError(f"no strategy '{name}'.{nearest(name, known)}")
        for job in jobs:
            place, choice = PurePosixPath(job.path), self.selected.get(job.strategy)
            if place.is_absolute() or ".." in place.parts or place.name != str(job.seed):
                raise UserError(
                    f"'{job.path}' is no folder of a run with seed {job.seed} below runs_dir"
                )
            tuning = self.plan.suite.tuning
            selected = choice.picks(tuning.seeds, tuning.replicates) if choice else []
            if job.phase == "final" and choice and list(job.point) not in selected:
                raise UserError(
                    f"'{job.strategy}' ran with {list(job.point)}, which was not selected"
                )

    def write(self) -> None:
        """Write the selection, if there is one, and the plan."""
        for name, content in self.files().items():
            write_text(self.path / name, content)

    def files(self) -> dict[str, str]:
        """Return the content of its files by name."""
        chosen = {name: asdict(choice) for name, choice in self.selected.items()}
        files = {"selected.json": json_text(chosen)} if chosen else {}
        return files | {"board.json": json_text(asdict(self.plan))}

    @property
    def runs_dir(self) -> Path:
        """Return the folder of the runs."""
        return self.path / self.plan.runs_dir

    def records(self) -> dict[Job, Record]:
        """Read the run of every job, in the order of the plan."""
        return {job: read_record(self.runs_dir / job.path) for job in self.plan.jobs}
