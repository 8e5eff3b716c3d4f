"""`dyntemp leaderboard merge`: rows of several boards in one, another person's among them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from solo_registry.errors import UserError
from solo_registry.jobs.job import Job, Phase
from solo_registry.leaderboard.archive import KEPT, RUNS, opened
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.knobs import Point
from solo_registry.leaderboard.ranges import narrower
from solo_registry.paths import exists, is_file
from solo_registry.runs.records import read_record

Key = tuple[Phase, Point, int]


def merge(paths: Sequence[Path], out: Path) -> list[str]:
    """Write a board with the rows of several; `report` and `pack` take it as any other.

    The first board gives the suite, the reference's runs, and every row that several have. From the
    others come the rows that it lacks. All must have been made alike: equal metric, tuning budget
    and seeds, and the same settings and images, which is seen at the runs of the reference that two
    boards share, as these are named by a hash of both.

    Args:
        paths: boards or their archives.
        out: the new folder.

    Returns:
        What a reader should know, a line each: where rows come from, and by how much runs differ
        that two boards share.

    Raises:
        UserError: the boards cannot stand in one table, or `out` exists.
    """
    if len(paths) < 2:
        raise UserError("name two boards or more to merge")
    if exists(out):
        raise UserError(f"{out} exists; name another folder by --out")
    notes: list[str] = []
    with ExitStack() as stack:
        first, *others = (stack.enter_context(opened(path)) for path in paths)
        plan = replace(first.plan, runs_dir=RUNS, jobs=list(first.plan.jobs))
        plan.suite.strategies = dict(plan.suite.strategies)
        selected, sources = dict(first.selected), [(first, list(first.plan.jobs))]
        for path, board in zip(paths[1:], others, strict=True):
            refuse_unlike(first, board, path)
            notes.append(f"{path}: {shared(first, board)}")
            new = [
                name for name in board.plan.suite.strategies if name not in plan.suite.strategies
            ]
            for name in new:
                _refuse_narrower(first, board, name, path)
                plan.suite.strategies[name] = board.plan.suite.strategies[name]
                if name in board.selected:
                    selected[name] = board.selected[name]
            jobs = [job for job in board.plan.jobs if job.strategy in new]
            plan.jobs += jobs
            sources.append((board, jobs))
            notes.append(f"{path}: adds {', '.join(new) or 'no row'}")
        for board, jobs in sources:
            _copy(board, jobs, out / RUNS)
        Board(out, plan, selected).write()
    return notes


def refuse_unlike(first: Board, other: Board, path: Path) -> None:
    """Refuse a board that was made by another protocol than the first.

    Raises:
        UserError: naming what differs.
    """
    ours, theirs = first.plan.suite, other.plan.suite
    same = {
        "suite.metric": (ours.metric, theirs.metric),
        "suite.reference": (ours.reference, theirs.reference),
        "suite.tuning": (asdict(ours.tuning), asdict(theirs.tuning)),
        "seeds": (first.plan.seeds, other.plan.seeds),
    }
    for key, (our, their) in same.items():
        if our != their:
            raise UserError(f"{path} cannot be merged: its {key} is {their}, not {our}")
    for name in ours.strategies.keys() & theirs.strategies.keys():
        pair = [asdict(suite.strategies[name]) | {"about": ""} for suite in (ours, theirs)]
        if pair[0] != pair[1]:
            raise UserError(
                f"{path} cannot be merged: its strategy '{name}' is another; rename one of the two"
            )
    here, there = _of_reference(first), _of_reference(other)
    common = here.keys() & there.keys()
    if not common:
        raise UserError(
            f"{path} cannot be merged: it shares no run of the reference '{ours.reference}'"
        )
    for run in sorted(common, key=str):
        if here[run].path != there[run].path:
            raise UserError(
                f"{path} cannot be merged: it was run with other settings or images, "
                f"'{ours.reference}' is {there[run].path} there and {here[run].path} in the first"
            )


def _of_reference(board: Board) -> dict[Key, Job]:
    """Return the runs of the reference by phase, point and seed."""
    name = board.plan.suite.reference
    return {
        (job.phase, job.point, job.seed): job for job in board.plan.jobs if job.strategy == name
    }


def shared(first: Board, other: Board) -> str:
    """Say by how much the reference's runs differ that two boards share: two machines, perhaps."""
    here, there = _of_reference(first), _of_reference(other)
    metric = first.plan.suite.metric
    differences: list[float] = []
    machines: set[str] = set()
    for key in here.keys() & there.keys():
        pair = [read_record(board.runs_dir / jobs[key].path)
                for board, jobs in ((first, here), (other, there))]  # fmt: skip
        values = [record.value(metric) for record in pair]
        if values[0] is not None and values[1] is not None:
            differences.append(abs(values[0] - values[1]))
            machines |= {record.machine for record in pair}
    if not differences:
        return "no finished run of the reference is in both"
    kinds = f" ({'; '.join(sorted(machines))})" if len(machines) > 1 else ""
    return (
        f"{len(differences)} runs of the reference are in both, their {metric} differs by at most "
        f"{max(differences):.3f}{kinds}"
    )


def _refuse_narrower(first: Board, board: Board, name: str, path: Path) -> None:
    """Refuse a row whose temperatures reach less far than the reference's.

    Raises:
        UserError: naming both ranges.
    """
    reference = first.plan.suite.reference
    spans = [
        [entry.temperatures for entry in choice.points if entry.temperatures] if choice else []
        for choice in (first.selected.get(reference), board.selected.get(name))
    ]
    if not first.plan.suite.same_range or not all(spans):
        return
    ours, theirs = ((min(low for low, _ in span), max(high for _, high in span)) for span in spans)
    if side := narrower(theirs, ours):
        raise UserError(
            f"{path} cannot be merged: '{name}' tried temperatures from {theirs[0]:.4g} to "
            f"{theirs[1]:.4g}, the reference from {ours[0]:.4g} to {ours[1]:.4g}; it lacks {side} "
            "ones"
        )


def _copy(board: Board, jobs: Sequence[Job], runs: Path) -> None:
    """Copy the small files of runs; two strategies may share one."""
    for place in sorted({job.path for job in jobs}):
        (runs / place).mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            if is_file(file := board.runs_dir / place / name):
                shutil.copyfile(file, runs / place / name)
