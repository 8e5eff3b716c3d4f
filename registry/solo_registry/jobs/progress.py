"""The progress display of many runs. It reads their folders, whichever launcher runs them."""

from __future__ import annotations

import shutil
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from solo_registry.jobs.job import Job
from solo_registry.paths import exists
from solo_registry.runs.records import Record, read_record

INTERVAL = 0.5  # seconds between two readings of the folders
SHOWN = 8  # number of running jobs that get a line of their own


def progress_bar(console: Console) -> Progress:
    """Return a bar that counts runs; without a terminal it shows nothing."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class Watch:
    """Reads the folders of jobs and prints which jobs ended.

    Args:
        jobs: the jobs to watch.
        runs_dir: the folder that holds their folders.
        metric: the number to print for each job.
        console: where to print.
        later: number of runs that follow when these are done, for the estimate of the time.
    """

    def __init__(
        self, jobs: Sequence[Job], runs_dir: Path, metric: str, console: Console, later: int = 0
    ) -> None:
        self.later, self.started, self.runs_dir = later, time.monotonic(), runs_dir
        self.left = {job: runs_dir / job.path for job in jobs}
        self.before = {job: written(path) for job, path in self.left.items()}
        self.total, self.metric, self.console = len(jobs), metric, console
        self.bar = progress_bar(console)
        self.task = self.bar.add_task("runs", total=self.total)
        self.lines: dict[Job, int] = {}

    def look(self) -> None:
        """Print the jobs that ended since the last call, and show how far the others are."""
        for job, path in list(self.left.items()):
            if exists(path / "error.json") or written(path) != self.before[job]:
                self._tell(job, read_record(path))
            elif self.bar.disable is False and exists(path / "resolved.yaml"):
                self._advance(job, read_record(path))

    def _tell(self, job: Job, record: Record) -> None:
        del self.left[job]
        if job in self.lines:
            self.bar.remove_task(self.lines.pop(job))  # type: ignore[arg-type]
        value = record.value(self.metric)
        number = f"{self.metric} {value:.2f}" if value is not None else f"failed: {record.problem}"
        seconds = record.cost.get("train_seconds")
        took = f"  ({seconds:.0f} s of training)" if seconds else ""
        done = self.total - len(self.left)
        self.bar.update(self.task, completed=done)
        line = f"[{done}/{self.total}] {job.phase} {job.label}: {number}{took}{self.estimate()}"
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)
        if done == 1 and (text := self.space(size_of(record.path))):
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def space(self, size: int) -> str:
        """Say so if the disk is too small for the runs that are left, at `size` bytes each."""
        count = len(self.left) + self.later
        free = shutil.disk_usage(self.runs_dir).free
        if count * size <= free:
            return ""
        return (
            f"warning: the other {count} runs need about {count * size / 1e9:.1f} GB in "
            f"{self.runs_dir}, but only {free / 1e9:.1f} GB are free. Make room while they run "
            "(dyntemp leaderboard prune BOARD), or stop and choose another disk by runs_dir=PATH"
        )

    def estimate(self) -> str:
        """Say how long the runs that are left take, if they take as long as those that ended.

        Several runs at once are counted as they come. Empty if nothing is left or nothing ended.
        """
        done = self.total - len(self.left)
        if not done or not (len(self.left) + self.later):
            return ""
        each = (time.monotonic() - self.started) / done
        these = f"{duration(each * len(self.left))} left" if self.left else ""
        every = f"{duration(each * (len(self.left) + self.later))} with the {self.later} to follow"
        return f"; about {', '.join(filter(None, (these, every if self.later else '')))}"

    def _advance(self, job: Job, record: Record) -> None:
        if job not in self.lines and len(self.lines) < SHOWN:
            self.lines[job] = self.bar.add_task(f"  {job.label}", total=None)
        if job in self.lines:
            epochs = record.cost.get("epochs", 0)
            self.bar.update(self.lines[job], description=f"  {job.label}, epoch {epochs}")  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 99:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size_of(folder: Path) -> int:
    """Return the bytes in a folder, in which files may come and go meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            size += file.stat().st_size
    return size


def written(path: Path) -> int | None:
    """Return when a run's result was written; a run that is measured again has an older result."""
    result = path / "result.json"
    return result.stat().st_mtime_ns if exists(result) else None


@contextmanager
def watching(
    jobs: Sequence[Job], runs_dir: Path, metric: str, console: Console, later: int = 0
) -> Iterator[Watch]:
    """Watch in the background while the jobs run; see `Watch` for the arguments."""
    watch, stop = Watch(jobs, runs_dir, metric, console, later), threading.Event()

    def loop() -> None:
        while not stop.wait(INTERVAL):
            watch.look()

    thread = threading.Thread(target=loop, daemon=True)
    with watch.bar:
        thread.start()
        try:
            yield watch
        finally:
            stop.set()
            thread.join()
            watch.look()


@contextmanager
def notes(console: Console) -> Iterator[None]:
    """Print each warning once, in one line, when the block ends."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        console.print(f"warning: {text}", soft_wrap=True, highlight=False, markup=False)
