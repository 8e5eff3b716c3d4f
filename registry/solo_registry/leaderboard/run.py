"""`dyntemp leaderboard run`: tune every strategy alike, then run the selected points over seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.overrides import pair
from solo_registry.config.resolve import expanded
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import HydraSession, hydra_session, short_name
from solo_registry.jobs.job import Job
from solo_registry.jobs.progress import notes, watching
from solo_registry.leaderboard.board import BOARD_VERSION, Board, Plan
from solo_registry.leaderboard.plan import Planner
from solo_registry.leaderboard.ranges import check_ranges
from solo_registry.leaderboard.replicates import shares
from solo_registry.leaderboard.suite import parse_seeds, read_suite
from solo_registry.leaderboard.tuning import further, select
from solo_registry.runs.lock import held
from solo_registry.runs.records import Record, read_record
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.notes import slow_bfloat16

# the command's own keys, and the key of a run that one of them stands in place of
OWN = {"suite": "", "seeds": "seed", "strategies": "", "board": "", "runs_dir": ""}


@dataclass
class Request:
    """The arguments of the command, sorted by their purpose."""

    suite: str = ""
    seeds: str = "5"
    board: str = ""
    strategies: list[str] = field(default_factory=list)
    suite_changes: list[str] = field(default_factory=list)
    hydra: list[str] = field(default_factory=list)
    runs_dir: str = "runs"
    run: list[str] = field(default_factory=list)  # of every run


def sort_overrides(overrides: Sequence[str]) -> Request:
    """Sort the arguments of the command line by their purpose.

    Raises:
        UserError: an argument is not KEY=VALUE, or no suite is named.

    >>> request = sort_overrides(["suite=smoke", "seeds=2", "hydra/launcher=ray", "max_epochs=3"])
    >>> request.suite, request.seeds, request.hydra, request.run
    ('smoke', '2', ['hydra/launcher=ray'], ['max_epochs=3'])
    """
    request = Request()
    for override in overrides:
        key, value = pair(override, "seeds=5", OWN)
        if key in ("board", "runs_dir"):
            setattr(request, key, expanded(key, value))
        elif key in ("suite", "seeds"):
            setattr(request, key, value)
        elif key == "strategies":
            request.strategies = [name.strip() for name in value.strip("[]").split(",")]
        elif key.startswith("suite."):
            request.suite_changes.append(override.removeprefix("suite."))
        elif key.lstrip("+").startswith("hydra"):
            request.hydra.append(override)
        else:
            request.run.append(override)
    if not request.suite:
        raise UserError("name a suite: dyntemp leaderboard run suite=smoke")
    return request


def run_board(overrides: Sequence[str], console: Console) -> Board:
    """Run a suite, or the part of it that is not finished yet.

    If another process runs the same board, this one waits for it.

    Args:
        overrides: the arguments of the command line.
        console: where progress is printed.

    Returns:
        The board: the list of its runs, and the selected points.

    Raises:
        UserError: arguments that cannot work; raised before anything runs.
    """
    load_plugins()
    request = sort_overrides(overrides)
    seeds = parse_seeds(request.seeds)
    with hydra_session(request.hydra, request.runs_dir) as hydra:
        name = short_name(request.suite)
        node = hydra.option("suite", request.suite)
        suite = read_suite(name, node, request.suite_changes, request.strategies)
        both = sorted(set(seeds) & set(suite.tuning.seeds))
        if both and suite.tuning.points > 1:
            raise UserError(f"seeds {both} serve tuning (suite.tuning.seeds); choose others")
        if suite.tuning.replicates > len(seeds):
            raise UserError(
                f"suite.tuning.replicates={suite.tuning.replicates} needs as many final seeds, "
                f"there are {len(seeds)}"
            )
        with console.status("checking every config"), notes(console):
            planner = Planner(suite, request.run, request.runs_dir, hydra.compose)
            jobs = planner.tuning()
            check_ranges(planner, name)
            first = {name: entry.points()[0] for name, entry in suite.strategies.items()}
            final = planner.final(first.items(), seeds)
            hydra.launcher()
        composed = hydra.compose(final[0].words)
        path = Path(request.board or f"boards/{name}-{composed.data.dataset}")
        runs_dir = Path(os.path.relpath(request.runs_dir, path)).as_posix()
        plan = Plan(BOARD_VERSION, name, suite, request.run, seeds, runs_dir, jobs)
        board = Board(path, plan)
        extra = len(suite.strategies) * suite.tuning.extra * len(suite.tuning.seeds)
        console.print(
            f"suite {name}: {len(suite.strategies)} strategies, {len(jobs)} tuning runs"
            f"{f' and {extra} of extended grids' if extra else ''}, "
            f"{len(suite.strategies) * len(seeds)} final runs; board {path}",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        if slow := slow_bfloat16(composed):
            console.print(slow, soft_wrap=True, highlight=False, markup=False)
        with held(path, console):
            _fill(board, planner, hydra, console)
    return Board.read(path)


def _fill(board: Board, planner: Planner, hydra: HydraSession, console: Console) -> None:
    """Run what the board lacks: tuning, selection, final runs."""
    plan, suite = board.plan, planner.suite
    board.write()
    (board.path / "selected.json").unlink(missing_ok=True)
    rows, seeds = len(suite.strategies), len(plan.seeds)
    extra = rows * suite.tuning.extra * len(suite.tuning.seeds)
    launch(hydra, planner, plan.jobs, console, extra + rows * seeds)
    if suite.tuning.extra:
        added = planner.extended(further(suite, read_all(plan.jobs, planner.runs_dir)))
        plan.jobs += added
        board.write()
        launch(hydra, planner, added, console, rows * seeds)
    records = read_all(plan.jobs, planner.runs_dir)
    board.selected = select(suite, records, planner.temperatures)
    board.write()
    count = suite.tuning.replicates
    final = [
        job
        for name, choice in board.selected.items()
        for point, seeds in zip(
            choice.picks(suite.tuning.seeds, count), shares(plan.seeds, count), strict=False
        )
        for job in planner.final([(name, tuple(point))], seeds)
    ]
    plan.jobs += final
    board.write()
    launch(hydra, planner, final, console)


def read_all(jobs: Sequence[Job], runs_dir: str) -> dict[Job, Record]:
    """Read the run of each job."""
    return {job: read_record(Path(runs_dir) / job.path) for job in jobs}


def launch(
    hydra: HydraSession, planner: Planner, jobs: Sequence[Job], console: Console, later: int = 0
) -> None:
    """Run the jobs that are not finished; try failed jobs again. `later` as many runs follow."""
    todo: dict[str, Job] = {}
    for job, record in read_all(jobs, planner.runs_dir).items():
        if record.status == "failed":
            RunFolder(record.path).error.unlink()
        if record.status in ("failed", "unfinished") or planner.lacks(job, record):
            todo.setdefault(job.path, job)  # two strategies may share a run
        if record.status == "damaged":
            console.print(
                f"left out: {record.problem}", soft_wrap=True, highlight=False, markup=False
            )
    if len(todo) < len(jobs):
        console.print(f"{len(jobs) - len(todo)} of {len(jobs)} runs are already finished")
    left = list(todo.values())
    size = hydra.batch_size() or max(1, len(left))
    with watching(left, Path(planner.runs_dir), planner.suite.metric, console, later):
        for start in range(0, len(left), size):
            batch = [hydra.spell(job.words) for job in left[start : start + size]]
            hydra.launcher().launch(batch, initial_job_idx=start)
