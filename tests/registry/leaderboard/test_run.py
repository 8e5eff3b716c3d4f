"""The whole way with real runs: launchers, failures, kill -9."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.run import run_board

SMALL = (
    "suite=smoke", "seeds=1", "strategies=fixed,cosine", "max_epochs=2",
    "backbone.kwargs.channels=[8,8,16,16]", "optimizer.batch_size=512",
)  # fmt: skip
QUIET = Console(quiet=True)
COST = ["train_seconds", "peak_host_bytes", "peak_gpu_bytes"]


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are equal to the last digit only with as many threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "solo_registry", "leaderboard", "run", *SMALL, *words]


def table(folder: Path) -> str:
    write_report(folder / "boards" / "smoke-digits", QUIET)
    rows = pd.read_csv(folder / "boards" / "smoke-digits" / "report" / "results.csv")
    assert (rows[COST[:2]] > 0).all(axis=None) and not rows.problems.any()
    return rows.drop(columns=COST).to_csv()


def needs(package: str) -> None:
    if importlib.util.find_spec(f"hydra_plugins.hydra_{package}_launcher") is None:
        pytest.skip(f"hydra-{package}-launcher is not installed: pip install '.[{package}]'")


@pytest.mark.slow
def test_killed_with_9_and_started_again_it_ends_with_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unbroken board goes through `basic`, the rest of the broken one through `joblib`."""
    needs("joblib")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    process = subprocess.Popen(command(), cwd=broken, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(broken.rglob("log.txt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(random.random() * 8)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(broken.rglob("result.json"))) < 6
    again = command("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = subprocess.run(again, cwd=broken, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "final cosine tau_max=0." in done.stdout
    monkeypatch.chdir(whole)
    run_board(SMALL, QUIET)
    assert table(broken) == table(whole)


@pytest.mark.slow
def test_submitit_local(tmp_path: Path) -> None:
    needs("submitit")
    grid = "suite.strategies.fixed.grid={method_kwargs.temperature: [0.2]}"
    one = ("strategies=fixed", "suite.tuning.points=1", grid, "hydra/launcher=submitit_local")
    done = subprocess.run(
        command(*one, "hydra.launcher.timeout_min=5"),
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[1/1] final fixed temperature=0.2 seed 1: knn_acc1" in done.stdout


@pytest.mark.slow
def test_a_run_that_fails_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "suite.strategies.cosine.words=[method=simclr_dyntemp,optimizer.batch_size=5000]"
    board = run_board([*SMALL[:-1], text], QUIET)
    assert board.selected["fixed"]["point"] and board.selected["cosine"]["point"] is None
    assert "batch_size=5000 is more than the" in board.selected["cosine"]["why"]
    error = json.loads(next(tmp_path.rglob("error.json")).read_text())
    assert "UserError" in error["traceback"]
    assert write_report(board.path, QUIET) != []
    rows = pd.read_csv(board.path / "report" / "results.csv").set_index("strategy")
    assert rows.verdict["cosine"] == "failed" and "batch_size=5000" in rows.problems["cosine"]
    assert rows.n["fixed"] == 1
