"""A run in a process of its own, under a launcher that gets signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from tests.forked import SERVER, Forked, run_forked

from solo_registry.jobs.worker import STOPPED, finish

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
MODEL = (
    "method=simclr_dyntemp", "seed=1", "data=digits", "data.fraction=0.5", "max_epochs=9",
    "backbone.kwargs.channels=[4,4,8,8]", "optimizer.batch_size=32", "evaluation.linear=false",
    "evaluation.pictures=false", "telemetry.every_n_epochs=0",
)  # fmt: skip
BOARD = (
    "suite=smoke", "seeds=1", "strategies=fixed", "evaluation.baselines=false",
    "suite.tuning.points=1", "suite.strategies.fixed.grid={method_kwargs.temperature: [0.2]}",
)  # fmt: skip
SUBMITIT = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=30")


def saves(folder: Path) -> None:
    """Stand for a run: at the signal, save for a while, then stop."""

    def save(number: int, frame: Any) -> None:
        time.sleep(0.3)
        (folder / "saved").write_text(str(number))
        sys.exit(STOPPED)

    signal.signal(signal.SIGUSR2, save)
    (folder / "begun").touch()
    signal.pause()


def wait_for(folder: Path, name: str) -> Path:
    deadline = time.monotonic() + 120
    while not (found := sorted(folder.rglob(name))):
        assert time.monotonic() < deadline, f"no {name}"
        time.sleep(0.02)
    return found[0]


@pytest.mark.slow
def test_a_signal_is_obeyed_when_the_run_has_saved(tmp_path: Path) -> None:
    """Not before, and though another thread than the waiting one takes the signal."""
    seen: list[bool] = []
    before = signal.signal(
        signal.SIGUSR2, lambda number, frame: seen.append((tmp_path / "saved").exists())
    )

    def preempt() -> None:
        wait_for(tmp_path, "begun")
        os.kill(os.getpid(), signal.SIGUSR2)

    def begin() -> BaseProcess:
        process: BaseProcess = SERVER.Process(target=saves, args=(tmp_path,))
        process.start()
        return process

    threading.Thread(target=preempt).start()
    try:
        code, came = finish(begin)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert code == STOPPED and came == {signal.SIGUSR2} and seen == [True]


def below(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(word) for word in file.read_text().split()] if file.exists() else []
    return [*own, *(further for child in own for further in below(child))]


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("whom", ["its process", "all processes"])
@pytest.mark.parametrize("command", [("leaderboard", "run"), ("pretrain", "--multirun")])
def test_submitit_queues_a_preempted_run_again(
    command: tuple[str, ...], whom: str, tmp_path: Path
) -> None:
    """A run that is preempted twice ends with the bytes of one that never was."""
    pytest.importorskip("submitit")
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        pytest.skip("no /proc to see what runs")
    words = MODEL if command[0] == "pretrain" else (*BOARD, *MODEL[3:])
    whole = run_forked("-m", "solo_registry", *command, *words, cwd=folder(tmp_path, "whole"))
    assert whole.returncode == 0, whole.stderr
    here = folder(tmp_path, "broken")
    broken = Forked("-m", "solo_registry", *command, *words, *SUBMITIT, cwd=here)
    for part, epoch in enumerate(("epoch 3/9", "epoch 6/9")):
        while (told := said(here)).count("resuming from") < part or epoch not in told:
            assert broken.poll() is None, told
            time.sleep(0.05)
        (controller,) = [pid for pid in below(broken.pid) if has(pid, "submitit.local._local")]
        job = below(controller)
        for number in (signal.SIGTERM, signal.SIGUSR2):  # as SLURM does before it ends a job
            for pid in job if whom == "all processes" else job[:1]:
                os.kill(pid, number)
        while job[0] in below(controller):
            time.sleep(0.05)
    out, err = broken.communicate()
    assert broken.returncode == 0, out + err
    told = said(here)
    assert told.count("Requeued job") == told.count("resuming from") == 2
    assert "inside.ckpt, after step" in told
    one, other = (wait_for(at, "metrics.csv") for at in (tmp_path / "whole", here))
    assert one.read_bytes() == other.read_bytes()


def said(folder: Path) -> str:
    """Return what jobs and runs have printed."""
    return "".join(path.read_text() for path in folder.rglob("*log*") if path.suffix != ".err")


def has(pid: int, words: str) -> bool:
    return words in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def folder(above: Path, name: str) -> Path:
    made = above / name
    made.mkdir()
    return made
