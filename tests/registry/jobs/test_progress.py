from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from solo_registry.jobs.job import Job
from solo_registry.jobs.progress import Watch
from solo_registry.runs.run_folder import RunFolder


def test_a_run_that_is_measured_again_is_told_when_it_is_done(
    make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    runs = [make_run("simclr", seed, 90.0) for seed in (1, 2)]
    jobs = [
        Job("fixed", "final", (), seed, (), run.path.relative_to(tmp_path / "runs").as_posix())
        for seed, run in enumerate(runs, start=1)
    ]
    content = runs[1].result.read_text()
    runs[1].result.unlink()  # a new run, beside one that has a result already
    watch = Watch(jobs, tmp_path / "runs", "knn_acc1", Console(file=io.StringIO(), width=100))

    def told() -> str:
        watch.look()
        return watch.console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    assert told() == ""
    os.utime(runs[0].result)
    watch.started -= 120  # seconds ago
    first = "[1/2] final fixed seed 1: knn_acc1 90.00  (3 s of training); about 2 min left\n"
    assert told() == first
    watch.later = 89
    assert watch.estimate() == "; about 2 min left, 3.0 h with the 89 to follow"
    watch.later = 0
    runs[1].result.write_text(content)
    assert told().endswith("[2/2] final fixed seed 2: knn_acc1 90.00  (4 s of training)\n")


def test_a_disk_too_small_for_all_runs_is_told_after_the_first(
    make_run: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run("simclr", seed, 90.0) for seed in (1, 2)]
    (runs[0].path / "weights").write_bytes(bytes(1_000_000))
    jobs = [
        Job("fixed", "final", (), seed, (), run.path.relative_to(tmp_path / "runs").as_posix())
        for seed, run in enumerate(runs, start=1)
    ]
    told = {}
    for free in (10**9, 3 * 10**9):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        console = Console(file=io.StringIO(), width=100)
        watch = Watch(jobs, tmp_path / "runs", "knn_acc1", console, later=1_999)
        os.utime(runs[0].result)
        watch.look()
        told[free] = console.file.getvalue()  # type: ignore[attr-defined]
    assert "warning" not in told[3 * 10**9]
    assert "the other 2000 runs need about 2.0 GB in" in told[10**9]
    assert "only 1.0 GB are free" in told[10**9]
