"""Runs of a board made again on this machine, and whether they differ by more than chance."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from scipy import stats

from solo_registry.config.resolve import resolve
from solo_registry.data.from_images import Planned
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.hydra_launcher import hydra_session
from solo_registry.jobs.job import Job
from solo_registry.jobs.worker import settle, start
from solo_registry.leaderboard.board import Board
from solo_registry.runs.read import read_yaml
from solo_registry.runs.records import Record, read_record
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.notes import slow_bfloat16

LEVEL = 0.001  # chance that a board without fault is faulted
WITHIN = 1.0  # points, where the board has one run of each setting and so tells no scatter


@dataclass(frozen=True)
class Scatter:
    """How the final runs of one setting differ by their seeds.

    Attributes:
        sd: standard deviation, pooled over the settings.
        df: its degrees of freedom; 0 if no setting has two runs.
    """

    sd: float
    df: int

    def limit(self, runs: int, tests: int = 1) -> float:
        """Return how far the mean difference of `runs` pairs may lie from 0.

        Two runs of one seed on unlike machines share weights, views and order. So they differ by no
        more than two seeds do, whose difference has the variance 2 sd². The limit is that of a t
        test at `LEVEL`, by Bonferroni for several `tests`.

        >>> round(Scatter(0.6, 56).limit(1), 2), round(Scatter(0.6, 56).limit(20), 2)
        (2.95, 0.66)
        """
        if not self.df:
            return WITHIN
        return float(stats.t.ppf(1 - LEVEL / tests / 2, self.df) * self.sd * math.sqrt(2 / runs))


def scatter(board: Board, records: dict[Job, Record]) -> Scatter:
    """Return how a board's final runs of one setting differ by their seeds, in its metric."""
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for job, record in records.items():
        value = record.value(board.plan.suite.metric)
        if job.phase == "final" and value is not None:
            groups.setdefault((job.strategy, *job.point), {})[job.path] = value
    values = [np.array(list(group.values())) for group in groups.values()]
    df = sum(len(group) - 1 for group in values)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in values)
    return Scatter(math.sqrt(squares / df) if df else 0.0, df)


def chosen(
    board: Board, records: dict[Job, Record], strategy: str | None, seed: int | None, runs: int
) -> list[Job]:
    """Return the runs to make again: finished final ones, one strategy after another, quick first.

    Raises:
        UserError: there is none.
    """
    known = board.plan.suite.strategies
    if strategy is not None and strategy not in known:
        raise UserError(f"no strategy '{strategy}'.{nearest(strategy, known)}")
    fitting: dict[str, list[Job]] = {}
    for job, record in sorted(
        records.items(), key=lambda item: item[1].cost.get("train_seconds") or 0.0
    ):
        wanted = strategy in (None, job.strategy) and seed in (None, job.seed)
        if job.phase == "final" and record.status == "finished" and wanted:
            fitting.setdefault(job.strategy, []).append(job)
    if not fitting:
        raise UserError(f"the board has no finished final run of {strategy or 'any strategy'}"
                        f"{'' if seed is None else f' with seed {seed}'}")  # fmt: skip
    turns = [(turn, job) for jobs in fitting.values() for turn, job in enumerate(jobs)]
    in_turn = [job for _, job in sorted(turns, key=lambda item: item[0])]
    return list({job.path: job for job in in_turn}.values())[:runs]  # strategies may share a run


def compare_again(
    board: Board,
    records: dict[Job, Record],
    jobs: Sequence[Job],
    within: float | None,
    overrides: Sequence[str],
    console: Console,
) -> list[str]:
    """Make runs of a board again in a temporary folder, compare their numbers, and tell.

    Args:
        board: the board.
        records: its runs.
        jobs: the runs to make again.
        within: how many points a run, and the mean, may differ; None is what seeds allow.
        overrides: arguments of these runs that change no number, such as `data.train_path=...`.
        console: where it is told.

    Returns:
        What cannot be chance, a line each.
    """
    faults, differences = [], []
    spread = scatter(board, records)
    most = spread.limit(1, len(jobs)) if within is None else within
    seconds = sum(records[job].cost.get("train_seconds") or 0.0 for job in jobs)
    lines = [f"runs to make again: {len(jobs)}, whose training took {seconds:.0f} s there"]
    lines.append(slow_bfloat16(read_yaml(board.runs_dir / jobs[0].path / "resolved.yaml")))
    console.print("\n".join(filter(None, lines)), soft_wrap=True, highlight=False, markup=False)
    for number, job in enumerate(jobs, 1):
        progress = f"running {job.label} again ({number}/{len(jobs)})"
        with console.status(progress):
            again = _made(board, job, overrides)
        if isinstance(again, str):
            faults.append(again)
            continue
        text, difference = _compared(board.plan.suite.metric, job, records[job], again)
        console.print(text, soft_wrap=True, highlight=False, markup=False)
        if difference is None or abs(difference) > most:
            faults.append(f"{text}: more than {most:.3g} apart")
        if difference is not None:
            differences.append(difference)
    if len(differences) > 1:
        mean = float(np.mean(differences))
        most = spread.limit(len(differences)) if within is None else within
        text = (
            f"{len(differences)} runs again: here {mean:+.3g} ± "
            f"{stats.sem(differences):.2g} in the mean, up to {max(map(abs, differences)):.3g}"
        )
        seeds = f"; two seeds differ by {spread.sd * math.sqrt(2):.2g} (standard deviation)"
        console.print(text + (seeds if spread.df else ""), soft_wrap=True, highlight=False)
        if abs(mean) > most:
            faults.append(f"{text}: the mean is more than {most:.3g} from 0")
    return faults


def _made(board: Board, job: Job, overrides: Sequence[str]) -> Record | str:
    """Make a run again; return its record, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder, hydra_session([], folder) as hydra:
        words = [*job.words, *overrides]
        cfg = hydra.compose(words)
        run = RunFolder.of(Planned().completed(resolve(cfg)))
        if (own := run.path.relative_to(folder).as_posix()) != job.path:
            return f"{job.label}: it would be the run {own} here"
        process = start(cfg, words, run)
        process.join()
        settle(process.exitcode, run)
        again = read_record(run.path)
    if again.status != "finished":
        return f"{job.label}, run again: {again.problem}"
    return again


def _compared(metric: str, job: Job, record: Record, again: Record) -> tuple[str, float | None]:
    """Write how a run made again differs; return also its metric's difference, None if unknown."""
    before, now = (each.result["results"]["trained"] for each in (record, again))
    text = f"{job.label}, run again: "
    if all(before[key] == now[key] for key in before.keys() & now.keys()):
        return f"{text}all numbers are equal to the last digit", 0.0
    there, here = before.get(metric), now.get(metric)
    if there is None or here is None:
        return f"{text}{metric} {there} there, {here} here", None
    text += f"{metric} {there:.6g} there, {here:.6g} here; "
    return f"{text}there {record.machine}; here {again.machine}", here - there
