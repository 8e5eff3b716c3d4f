"""The whole way with real runs: launchers, failures, kill -9, Ctrl-C, several processes a run.

The first test is the one that kills a whole system with signal 9 in `make test`; those of a single
run, a probe and a sweep, which do the same with one part of it, are nightly.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from rich.console import Console
from tests.forked import Forked, run_forked

from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.run import run_board
from solo_registry.leaderboard.verify import check_board

TINY = (
    "suite=smoke", "seeds=1", "max_epochs=2", "backbone.kwargs.channels=[4,4,8,8]",
    "optimizer.batch_size=512", "telemetry.every_n_epochs=0", "evaluation.pictures=false",
)  # fmt: skip
QUICK = (*TINY, "strategies=fixed", "evaluation.linear=false", "evaluation.baselines=false")
ONE_RUN = (
    *QUICK, "suite.tuning.points=1",
    "suite.strategies.fixed.grid={method_kwargs.temperature: [0.2]}",
)  # fmt: skip
QUIET = Console(quiet=True)
COST = ["train_seconds", "peak_host_bytes", "peak_gpu_bytes"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "solo_registry", "leaderboard", "run", *words]


def table(folder: Path) -> str:
    write_report(folder / "boards" / "smoke-digits", QUIET)
    rows = pd.read_csv(folder / "boards" / "smoke-digits" / "report" / "results.csv")
    assert (rows[COST[:2]] > 0).all(axis=None) and not rows.problems.any()
    return rows.drop(columns=COST).to_csv()


def needs(package: str) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{package}_launcher") is None:
        pytest.skip(f"hydra-{package}-launcher is not installed: pip install '.[{package}]'")


def start(folder: Path, *words: str) -> Forked:
    """Start the command as a terminal does: with a process group of its own."""
    return Forked("-m", "solo_registry", "leaderboard", "run", *words, cwd=folder)


def wait_for(folder: Path, name: str, count: int = 1) -> None:
    deadline = time.monotonic() + 120
    while len(list(folder.rglob(name))) < count:
        assert time.monotonic() < deadline, f"no {name}"
        time.sleep(0.02)


def left_of(group: int) -> list[str]:
    """Which processes of a group still run, 10 seconds after its first has ended."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc to see what runs")
    deadline = time.monotonic() + 10
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                state, _, its_group = (process / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(its_group) == group and state != "Z":
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it ended meanwhile
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.nightly)])
def test_killed_with_9_and_stopped_by_ctrl_c_it_ends_with_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    """The unbroken board goes through `basic`, the rest of the broken one through `launcher`."""
    if launcher != "basic":
        needs(launcher)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    killed = start(broken, *QUICK)
    wait_for(broken, "last.ckpt")  # it trains: of two epochs one is done
    killed.kill()
    killed.communicate()
    assert left_of(killed.pid) == []
    stopped = start(broken, *QUICK)
    wait_for(broken, "result.json", 1 + len(list(broken.rglob("result.json"))))
    os.killpg(stopped.pid, signal.SIGINT)
    out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130 and "The same command goes on" in err
    assert "Traceback" not in out + err and left_of(stopped.pid) == []
    assert len(list(broken.rglob("result.json"))) < 3
    if launcher == "joblib":  # a true interpreter: its workers hang in a fork of the server
        words = (*QUICK, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
        again = subprocess.run(
            [sys.executable, "-m", "solo_registry", "leaderboard", "run", *words],
            cwd=broken, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    else:
        again = run_forked("-m", "solo_registry", "leaderboard", "run", *QUICK, cwd=broken)
    assert again.returncode == 0, again.stderr
    assert "final fixed temperature=0." in again.stdout
    monkeypatch.chdir(whole)
    run_board(QUICK, QUIET)
    assert table(broken) == table(whole)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_a_board_that_is_started_twice_trains_once(tmp_path: Path) -> None:
    """The second waits for the first and finds its runs; the table is in both outputs."""
    first = start(tmp_path, *ONE_RUN)
    wait_for(tmp_path, ".smoke-digits.lock")
    second = start(tmp_path, *ONE_RUN)
    for process in (first, second):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert f"process {first.pid} on" in out and "is working on" in out
    assert "1 of 1 runs are already finished" in out
    log = next(tmp_path.rglob("log.txt")).read_text()
    assert log.count("effective lr") == 1 and not list(tmp_path.rglob("*.lock"))


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_every_run_trains_on_two_processes_that_end_with_the_command(tmp_path: Path) -> None:
    two = (*ONE_RUN, "strategy=ddp", "devices=2", "accelerator=cpu", "max_epochs=30")
    killed = start(tmp_path, *two)
    wait_for(tmp_path, "last.ckpt")
    killed.kill()
    killed.communicate()
    assert left_of(killed.pid) == []
    done = subprocess.run(command(*two), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    run = next(tmp_path.rglob("result.json")).parent
    assert json.loads((run / "result.json").read_text())["steps"] == 30  # an epoch has one
    assert "resuming from" in (run / "log.txt").read_text()
    cfg = OmegaConf.load(run / "resolved.yaml")
    assert cfg.optimizer.effective_lr == cfg.optimizer.lr * 2 * 512 / 256


@pytest.mark.nightly
@pytest.mark.slow
def test_submitit_local(tmp_path: Path) -> None:
    needs("submitit")
    words = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5")
    done = subprocess.run(
        command(*ONE_RUN, *words), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "[1/1] final fixed temperature=0.2 seed 1: knn_acc1" in done.stdout


@pytest.mark.nightly
@pytest.mark.slow
def test_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 otherwise: on busy cores it waits for long
    done = subprocess.run(
        command(*ONE_RUN, "hydra/launcher=ray"), cwd=tmp_path, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[1/1] final fixed temperature=0.2 seed 1: knn_acc1" in done.stdout


@pytest.mark.slow
def test_a_run_that_fails_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "suite.strategies.cosine.words=[method=simclr_dyntemp,optimizer.batch_size=5000]"
    words = [word for word in QUICK if not word.startswith(("optimizer.batch_size", "strategies"))]
    extra = "suite.tuning.extra=1"
    board = run_board([*words, "strategies=fixed,cosine", text, extra], QUIET)
    points = [entry.point for entry in board.selected["fixed"].points]
    assert points[-1] == ["method_kwargs.temperature=0.2"] and len(points) == 3
    assert board.selected["fixed"].points[-1].temperatures == (0.2, 0.2)
    assert len(board.selected["cosine"].points) == 2  # nothing to extend
    assert board.selected["fixed"].point and board.selected["cosine"].point is None
    assert "batch_size=5000 is more than the" in board.selected["cosine"].why
    error = json.loads(next(tmp_path.rglob("error.json")).read_text())
    assert "UserError" in error["traceback"]
    told = Console(file=io.StringIO(), width=200)
    faults = check_board(board.path, told, strategy="fixed")  # runs one of its runs again
    assert faults and all("cosine" in line for line in faults)
    assert "all numbers are equal to the last digit" in told.file.getvalue()  # type: ignore[attr-defined]
    assert write_report(board.path, QUIET) != []
    rows = pd.read_csv(board.path / "report" / "results.csv").set_index("strategy")
    assert rows.verdict["cosine"] == "no result" and "batch_size=5000" in rows.problems["cosine"]
    assert rows.n["fixed"] == 1
