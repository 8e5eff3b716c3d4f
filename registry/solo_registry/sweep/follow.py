"""Watches a trial's run: reports its epochs to Optuna, and ends it early if Optuna prunes it.

Only the run folder is read. So a trial that ran before is followed in the same way and ends in the
same way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

import optuna

from solo_registry.errors import UserError
from solo_registry.jobs.worker import settle
from solo_registry.runs.records import read_metrics, read_record
from solo_registry.runs.run_folder import RunFolder
from solo_registry.sweep.plan import Trial
from solo_registry.sweep.space import SpaceConfig

INTERVAL = 0.2  # seconds between two readings of the folder
GRACE = 30.0  # seconds that a run has to end by itself


class Started(Protocol):
    """A run that was started: what is used of a process, which a task of Ray has as well."""

    @property
    def exitcode(self) -> int | None:
        """Exit code; None while it runs."""

    def is_alive(self) -> bool:
        """Whether it runs."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for at most `timeout` seconds."""

    def terminate(self) -> None:
        """Ask it to stop."""

    def kill(self) -> None:
        """End it at once."""


def follow(
    trial: Trial,
    asked: optuna.Trial,
    space: SpaceConfig,
    epochs: int,
    start: Callable[[], Started],
    tell: Callable[[Trial], None],
) -> Generator[None, None, bool]:
    """Finish a trial: report the epochs in its folder, and run the epochs that are missing.

    It yields while the run goes on, so that one process can follow several.

    Args:
        trial: the trial; this function fills it in.
        asked: Optuna's object of the trial.
        space: the space that is searched.
        epochs: number of epochs of its run.
        start: starts or resumes its run.
        tell: called after each epoch.

    Returns:
        Whether a run was started.
    """
    process: Started | None = None
    try:
        while True:
            alive = process is not None and process.is_alive()  # before the epochs are read
            if prune(trial, asked, curve(trial.run, space.intermediate), epochs):
                trial.state = "pruned"
                return process is not None
            tell(trial)
            if process is not None and alive:
                process.join(INTERVAL)
                yield
                continue
            if process is not None:
                settle(process.exitcode, trial.run)
            record = read_record(trial.run.path)
            if process is None and (
                record.status == "unfinished" or record.lacks(trial.evaluation)
            ):
                process = start()
                continue
            trial.value = record.value(space.metric)
            trial.images = record.result.get("test_images", 1)
            trial.state = "failed" if trial.value is None else "finished"
            if trial.value is None:
                trial.problem = record.problem or f"no {space.metric}: the data have no labels"
            return process is not None
    finally:
        if process is not None:
            end(process)


def prune(trial: Trial, asked: optuna.Trial, found: dict[int, float], epochs: int) -> bool:
    """Report new epochs to Optuna; return whether one of them prunes the trial.

    The last epoch never prunes, because then there is nothing left to save.
    """
    for done in sorted(found.keys() - trial.curve.keys()):
        trial.curve[done] = found[done]
        asked.report(found[done], done)
        if done < epochs and asked.should_prune():
            return True
    return False


def curve(run: RunFolder, column: str) -> dict[int, float]:
    """Read a column of metrics.csv by epochs done; empty if there is no such column."""
    try:
        table = read_metrics(run.metrics)[["epoch", column]].dropna()
    except (UserError, KeyError):
        return {}
    return {e + 1: float(v) for e, v in zip(table["epoch"], table[column], strict=True)}


def end(process: Started) -> None:
    """End a run's process; Lightning finishes the batch and ends the processes it started."""
    if process.is_alive():
        process.terminate()
        process.join(GRACE)
    if process.is_alive():
        process.kill()
    process.join()
