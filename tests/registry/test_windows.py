"""Commands on what stands in for Windows, tests/stand_ins/windows: no such machine is at hand."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Dyntemp = Callable[..., subprocess.CompletedProcess[bytes]]
FOLDER = Path(__file__).parents[1] / "stand_ins" / "windows"
TINY = (
    "data=digits", "data.fraction=0.1", "backbone=resnet18_narrow", "max_epochs=1",
    "backbone.kwargs.channels=[8,8,16,16]", "optimizer.batch_size=64", "evaluation.pictures=false",
)  # fmt: skip
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in reads /proc")


@pytest.fixture
def windows(tmp_path: Path) -> Dyntemp:
    """Run Python there, in `tmp_path`; its stdout has the encoding of a pipe on Windows."""
    own = {
        "PYTHONPATH": str(FOLDER),
        "DYNTEMP_WINDOWS": str(tmp_path),
        "PYTHONIOENCODING": "cp1252",
    }

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=os.environ | own, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def dyntemp(windows: Dyntemp) -> Dyntemp:
    return lambda *words: windows("-m", "solo_registry", *words)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("file = open('a', 'w'); os.replace('a', 'b')", "WinError 32"),
        ("open('a', 'w'); open('b', 'w'); os.rename('a', 'b')", "WinError 183"),
        ("os.mkdir('a:b')", "WinError 123"),
        ("exec('import signal; signal.pthread_sigmask', {'__name__': 'solo_registry'})", "has no"),
        ("multiprocessing.get_context('fork')", "cannot find context"),
        ("open('a', 'w').write('\\n'); assert open('a', 'rb').read() == b'\\n'", "AssertionError"),
    ],
)  # fmt: skip
def test_the_stand_in_refuses_what_windows_does(windows: Dyntemp, code: str, error: str) -> None:
    with pytest.raises(AssertionError, match=error):
        windows("-c", f"import multiprocessing, os; {code}")


@pytest.mark.distributed
def test_a_run_trains_and_is_measured(dyntemp: Dyntemp, tmp_path: Path) -> None:
    name = "name=ma\u00dfe \u732b"
    words = ("pretrain", "method=simclr_dyntemp", *TINY, name, "data.num_workers=1")
    out = dyntemp(*words).stdout.decode("cp1252")
    assert "numbers in result.json" in out and "runs/ma\u00dfe \\u732b/" in out
    (run,) = tmp_path.glob("runs/*/*/5")
    assert b"\r" not in (run / "metrics.csv").read_bytes() + (run / "resolved.yaml").read_bytes()


@pytest.mark.nightly
def test_a_board_a_sweep_and_further_processes(dyntemp: Dyntemp, tmp_path: Path) -> None:
    dyntemp("leaderboard", "run", "suite=smoke", "board=b", "seeds=1", "max_epochs=1")
    with (tmp_path / "b" / "report" / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and not any(row.get("problem") for row in rows)
    dyntemp("leaderboard", "pack", "b", "--out", "b.tar.xz")
    assert b"equal to the last digit" in dyntemp("leaderboard", "check", "b.tar.xz").stdout
    dyntemp("sweep", "method=simclr_dyntemp", "space=cosine", "trials=2", *TINY)
    several = ("--multirun", "seed=1,2", "hydra/launcher=joblib")
    dyntemp("pretrain", "method=simclr_dyntemp", *TINY, *several)
    dyntemp("pretrain", "method=simclr_dyntemp", *TINY, "devices=2", "accelerator=cpu")
