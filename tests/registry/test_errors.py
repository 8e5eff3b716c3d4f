"""What a user is told where a launcher's jobs cannot start, or end without a word."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from solo_registry.cli import main as cli
from solo_registry.errors import of_runner, told


def killed(_: Any = None) -> None:
    """End this process as the kernel does where memory is full."""
    os.kill(os.getpid(), signal.SIGKILL)


def wrong(_: Any = None) -> None:
    """Fail as a job with a bug does."""
    raise ZeroDivisionError("a bug")


def raised(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def by_joblib(task: Callable[[Any], None]) -> Exception:
    joblib = pytest.importorskip("joblib")
    return raised(lambda: joblib.Parallel(n_jobs=2)(joblib.delayed(task)(i) for i in range(2)))


def by_submitit(task: Callable[[], None], folder: Path) -> Exception:
    submitit = pytest.importorskip("submitit")
    return raised(lambda: submitit.LocalExecutor(folder).submit(task).result())


def no_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch, refusal: str = "") -> None:
    """Let this be a machine without SLURM, or one whose sbatch refuses each job."""
    if refusal:
        for name in ("sbatch", "srun"):
            (folder / name).write_text(f"#!/bin/sh\necho '{refusal}' >&2\nexit 1\n")
            (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.slow
def test_a_killed_job_is_told_without_a_trace(tmp_path: Path) -> None:
    text = str(told(by_joblib(killed)))
    assert text.startswith("the launcher failed (joblib): A worker process")
    assert "SIGKILL(-9)" in text and text.endswith("The same command goes on from what is saved")
    text = str(told(by_submitit(killed, tmp_path)))
    assert text.startswith("the launcher failed (submitit): Job ")
    assert f"Look at stdout: {tmp_path}" in text and "----" not in text


@pytest.mark.slow
def test_a_bug_of_a_job_is_no_fault_of_its_launcher(tmp_path: Path) -> None:
    assert told(by_joblib(wrong)) is None
    assert told(raised(wrong)) is None and of_runner(raised(wrong)) == ""
    assert "ZeroDivisionError: a bug" in str(told(by_submitit(wrong, tmp_path)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("refusal", "message"),
    [("", 'Could not detect "srun"'), ("sbatch: error: invalid partition: gpu", "partition: gpu.")],
)
@pytest.mark.parametrize(
    "command",
    [
        ["pretrain", "--multirun", "method=simclr", "seed=1,2"],
        ["leaderboard", "run", "suite=smoke", "seeds=2"],
    ],
)
def test_a_cluster_that_takes_no_job_is_no_wrong_config(
    command: list[str],
    refusal: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    no_slurm(tmp_path, monkeypatch, refusal)
    words = [*command, "data=digits", "hydra/launcher=submitit_slurm"]
    monkeypatch.setattr(sys, "argv", ["dyntemp", *words])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    said = " ".join(capsys.readouterr().err.split())
    assert "error: the launcher failed (submitit): " in said and message in said
    assert "cannot compose" not in said and "Traceback" not in said


def test_a_launcher_without_multirun_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", "data=digits", "hydra/launcher=submitit_slurm"]
    monkeypatch.setattr(sys, "argv", ["dyntemp", *words])
    with pytest.raises(SystemExit, match="2"):
        cli.main()  # else it would train here, on the node where people log in
    said = capsys.readouterr().err
    assert said.startswith("error: hydra/launcher=submitit_slurm starts the jobs of --multirun")
