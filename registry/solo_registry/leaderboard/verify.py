"""`dyntemp leaderboard check`: whether a board says what its runs gave, and runs one again."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.identity import is_named
from solo_registry.config.resolve import resolve
from solo_registry.config.undecided import undecided
from solo_registry.data.from_images import Planned
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.jobs.job import Job
from solo_registry.jobs.worker import settle, start
from solo_registry.leaderboard.archive import opened
from solo_registry.leaderboard.board import Board
from solo_registry.runs.read import read_yaml
from solo_registry.runs.records import Record, contradictions, read_record, unlike
from solo_registry.runs.run_folder import RunFolder

WITHIN = 1.0  # points; one command differed by 0.56 between two kinds of machine


def check_board(
    path: Path,
    console: Console,
    *,
    strategy: str | None = None,
    seed: int | None = None,
    within: float = WITHIN,
    rerun: bool = True,
    overrides: Sequence[str] = (),
) -> list[str]:
    """Check the files of a board, the names of its runs, its selection, and one run by running it.

    Args:
        path: a board or its archive.
        console: where it is told.
        strategy: whose run is made again; None takes the run that took least time.
        seed: of which seed; None takes any final one.
        within: how many points the suite's metric of that run may differ.
        rerun: whether a run is made again.
        overrides: arguments of that run that change no number, such as `data.train_path=...`.

    Returns:
        The faults, a line each; empty if there are none.

    Raises:
        UserError: there is no board, its file is damaged, or it has no such run.
    """
    load_plugins()
    with opened(path) as board:
        records = board.records()
        problems = faults(board, records) + wrong_names(board)
        console.print(
            f"{path}: {len(board.plan.suite.strategies)} strategies, {len(records)} runs, "
            f"{len(problems)} faults",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        if rerun:
            job = chosen(board, records, strategy, seed)
            problems += run_again(board, job, records[job], within, overrides, console)
    return problems


def faults(board: Board, records: dict[Job, Record]) -> list[str]:
    """Return what is wrong with the files of the runs, and with the selection."""
    bad = {**contradictions(records.values()), **unlike_by_row(records)}
    found = [
        f"{job.phase}, {job.label}: {problem}"
        for job, record in records.items()
        if (problem := record.problem or bad.get((record.hash, record.seed), ""))
    ]
    for name, choice in board.selected.items():
        means = [entry.mean for entry in choice.points if entry.mean is not None]
        own = next((entry for entry in choice.points if entry.point == choice.point), None)
        if means and (own is None or own.mean != max(means)):
            found.append(f"{name}: the selected point is not the one with the highest mean")
        for entry in choice.points:
            for job, record in records.items():
                value = entry.values.get(str(job.seed))
                mine = job.strategy == name and list(job.point) == entry.point
                if mine and job.phase == "tuning" and value is not None:
                    measured = record.value(board.plan.suite.metric)
                    if measured is not None and measured != value:
                        found.append(f"{job.label}: selected.json has {value}, its run {measured}")
    return found


def unlike_by_row(records: dict[Job, Record]) -> dict[tuple[str, str], str]:
    """Return the runs that were measured in another way than the others of their row."""
    rows: dict[tuple[str, str], list[Record]] = {}
    for job, record in records.items():
        rows.setdefault((job.strategy, job.phase), []).append(record)
    return {key: why for found in rows.values() for key, why in unlike(found).items()}


def wrong_names(board: Board) -> list[str]:
    """Return the runs whose arguments do not lead to the hash that names their folder."""
    found, known = [], dict[tuple[str, ...], bool]()
    with hydra_session([], board.plan.runs_dir) as hydra, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the settings, which whoever ran them has seen
        for job in board.plan.jobs:
            words = job.words[:-1]  # without the seed
            if words not in known:
                try:
                    cfg = resolve(hydra.compose(words))
                    if cfg.data.digest is None:  # a board of an older version names it elsewhere
                        own = read_yaml(board.runs_dir / job.path / "resolved.yaml")
                        cfg.data.digest = own.data.digest
                    name = RunFolder(Path(job.path)).hash
                    known[words] = bool(undecided(cfg)) or is_named(cfg, name)
                except UserError as error:
                    found.append(f"{job.label}: its arguments make no config here: {error}")
                    known[words] = True
            if not known[words] or job.words[-1] != f"seed={job.seed}":
                found.append(f"{job.phase}, {job.label}: its arguments are not those of {job.path}")
    return found


def chosen(board: Board, records: dict[Job, Record], strategy: str | None, seed: int | None) -> Job:
    """Return the run to make again: of the finished final ones the quickest that fits.

    Raises:
        UserError: there is none.
    """
    known = board.plan.suite.strategies
    if strategy is not None and strategy not in known:
        raise UserError(f"no strategy '{strategy}'.{nearest(strategy, known)}")
    fitting = [
        job
        for job, record in records.items()
        if job.phase == "final" and record.status == "finished"
        and strategy in (None, job.strategy) and seed in (None, job.seed)
    ]  # fmt: skip
    if not fitting:
        raise UserError(f"the board has no finished final run of {strategy or 'any strategy'}"
                        f"{'' if seed is None else f' with seed {seed}'}")  # fmt: skip
    return min(fitting, key=lambda job: records[job].cost.get("train_seconds") or 0.0)


def run_again(
    board: Board,
    job: Job,
    record: Record,
    within: float,
    overrides: Sequence[str],
    console: Console,
) -> list[str]:
    """Make a run of a board again in a temporary folder, and compare its numbers."""
    metric = board.plan.suite.metric
    with tempfile.TemporaryDirectory() as folder, hydra_session([], folder) as hydra:
        words = [*job.words, *overrides]
        cfg = hydra.compose(words)
        run = RunFolder.of(Planned().completed(resolve(cfg)))
        if run.path.relative_to(folder).as_posix() != job.path:
            return [f"{job.label}: it would be the run {run.path.relative_to(folder)} here"]
        with console.status(f"running {job.label} again"):
            process = start(cfg, words, run)
            process.join()
        settle(process.exitcode, run)
        again = read_record(run.path)
        if again.status != "finished":
            return [f"{job.label}, run again: {again.problem}"]
    before, now = (each.result["results"]["trained"] for each in (record, again))
    unequal = {
        key: (before[key], now[key])
        for key in before.keys() & now.keys()
        if before[key] != now[key]
    }
    text = f"{job.label}, run again: "
    if not unequal:
        text += "all numbers are equal to the last digit"
    else:
        there, here = before.get(metric), now.get(metric)
        text += f"{metric} {there} there, {here} here; there {record.machine}; here {again.machine}"
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    first, second = unequal.get(metric, (0.0, 0.0))
    if first is None or second is None or abs(first - second) > within:
        return [f"{text}: more than {within:g} apart"]
    return []
