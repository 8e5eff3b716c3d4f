"""`dyntemp leaderboard check`: whether a board says what its runs gave, and runs some again."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.identity import is_named
from solo_registry.config.resolve import resolve
from solo_registry.config.undecided import undecided
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.jobs.job import Job
from solo_registry.leaderboard.again import chosen, compare_again
from solo_registry.leaderboard.archive import opened
from solo_registry.leaderboard.board import Board
from solo_registry.runs.read import read_settings
from solo_registry.runs.records import Record, contradictions, unlike
from solo_registry.runs.run_folder import RunFolder


def check_board(
    path: Path,
    console: Console,
    *,
    strategy: str | None = None,
    seed: int | None = None,
    within: float | None = None,
    runs: int = 1,
    overrides: Sequence[str] = (),
) -> list[str]:
    """Check a board's files, the names of its runs, its selection, and some runs by running them.

    Args:
        path: a board or its archive.
        console: where it is told.
        strategy: whose runs are made again; None takes one strategy after another.
        seed: of which seed; None takes any final one, the quickest first.
        within: how many points the suite's metric may differ; None is what two seeds of one
            setting may, by the scatter of this board.
        runs: how many runs are made again.
        overrides: arguments of those runs that change no number, such as `data.train_path=...`.

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
        if runs:
            jobs = chosen(board, records, strategy, seed, runs)
            problems += compare_again(board, records, jobs, within, overrides, console)
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
                        own = read_settings(board.runs_dir / job.path / "resolved.yaml")
                        cfg.data.digest = own["data"]["digest"]
                    name = RunFolder(Path(job.path)).hash
                    known[words] = bool(undecided(cfg)) or is_named(cfg, name)
                except UserError as error:
                    found.append(f"{job.label}: its arguments make no config here: {error}")
                    known[words] = True
            if not known[words] or job.words[-1] != f"seed={job.seed}":
                found.append(f"{job.phase}, {job.label}: its arguments are not those of {job.path}")
    return found
