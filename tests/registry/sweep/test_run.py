"""The whole way: killed, gone on with, raised, with failures; then with real runs."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from tests.registry.sweep.conftest import (
    EPOCHS,
    Crash,
    Formula,
    Search,
    command,
    outputs,
    sweep_folder,
)  # fmt: skip

from solo_registry.errors import UserError
from solo_registry.runs import lock

FEW = "trials=7"


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.nightly)])
def test_killed_anywhere_it_ends_with_the_same_bytes(
    search: Search, formula: type[Formula], tmp_path: Path, times: int
) -> None:
    search("whole", FEW)
    epochs = formula.epochs_run
    whole = outputs(tmp_path / "whole")
    states = pd.read_csv(tmp_path / "whole/sweeps/simclr_dyntemp-cosine-digits/trials.csv").state
    assert {"finished", "pruned"} == set(states) and epochs < 7 * EPOCHS
    for number in np.linspace(0, epochs, times + 2)[1:-1].astype(int):
        folder = f"broken-{number}"
        formula.left = int(number)
        with pytest.raises(Crash):
            search(folder, FEW)
        formula.left = 10**9
        search(folder, FEW)
        assert outputs(tmp_path / folder) == whole, number
    formula.epochs_run = 0
    search("whole", FEW)
    assert formula.epochs_run == 0 and outputs(tmp_path / "whole") == whole


@pytest.mark.slow
def test_trials_of_a_round_run_at_once_and_end_in_any_order(
    search: Search, formula: type[Formula], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed and started again, a sweep ends with the same bytes, whichever trial was faster."""
    words = (FEW, "sweep.parallel=3")
    sweep, epochs = search("whole", *words), formula.epochs_run
    whole = outputs(tmp_path / "whole")
    assert sweep.of_state("pruned") and sweep.of_state("finished")
    assert len({trial.label for trial in sweep.trials}) == 7
    formula.left = epochs // 2
    with pytest.raises(Crash):
        search("broken", *words)
    formula.left = 10**9
    join = Formula.join

    def uneven(self: Formula, timeout: float | None = None) -> None:
        if zlib.crc32(str(self.run.path).encode()) % 2:
            join(self, timeout)  # some are twice as fast
        join(self, timeout)

    monkeypatch.setattr(Formula, "join", uneven)
    search("broken", *words)
    assert outputs(tmp_path / "broken") == whole


@pytest.mark.slow
def test_more_trials_go_on_from_those_there_are(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    first, ran = search("grown", "trials=3"), formula.epochs_run
    more = search("grown", FEW)
    assert [t.label for t in more.trials[:3]] == [t.label for t in first.trials]
    grown, so_far = outputs(tmp_path / "grown"), formula.epochs_run
    search("at-once", FEW)
    assert outputs(tmp_path / "at-once") == grown and formula.epochs_run == 2 * so_far
    assert ran < so_far


@pytest.mark.slow
def test_a_failed_trial_is_a_row_and_is_tried_again_only_if_asked(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    formula.fails = lambda cfg: cfg.method_kwargs.tau_min > 0.1
    sweep = search("here", FEW)
    failed, ran = sweep.of_state("failed"), formula.epochs_run
    assert failed and all(t.problem == "ValueError: the loss is nan" for t in failed)
    assert len(sweep.ranked) > 1 and sweep.ranked[0].point["tau_min"] <= 0.1
    rows = pd.read_csv(sweep_folder(tmp_path / "here") / "trials.csv").set_index("trial")
    assert rows.problem[failed[0].number] == "ValueError: the loss is nan"
    before = outputs(tmp_path / "here")
    search("here", FEW)
    assert formula.epochs_run == ran and outputs(tmp_path / "here") == before
    formula.fails = lambda cfg: False
    assert not search("here", FEW, "retry=true").of_state("failed")


def broken(result: Path, kind: str) -> None:
    if kind == "metrics":
        metrics = result.with_name("metrics.csv")
        metrics.write_bytes(metrics.read_bytes()[:-9])
    elif kind == "resolved":
        result.with_name("resolved.yaml").write_bytes(b"\xff\xfe: [")
    else:
        content = json.loads(result.read_text())
        content["results"]["trained"]["knn_acc1"] = 1e300 if kind == "huge" else kind
        result.write_text(json.dumps(content))


@pytest.mark.slow
def test_a_damaged_run_is_a_failed_trial_with_its_reason(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    whole, ran = search("here", "trials=3"), formula.epochs_run
    run = tmp_path / "here" / whole.ranked[0].run.path
    files = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    problems = {"metrics": "metrics.csv is damaged", "huge": "result.json is not a",
                "text": "result.json is not a", "resolved": "resolved.yaml is"}  # fmt: skip
    for kind, problem in problems.items():
        broken(run / "result.json", kind)
        (failed,) = search("here", "trials=3").of_state("failed")
        assert problem in failed.problem and formula.epochs_run == ran
        for file, content in files.items():
            file.write_bytes(content)
    assert not search("here", "trials=3").of_state("failed")


@pytest.mark.slow
def test_a_sweep_that_another_process_runs_waits(
    search: Search, formula: type[Formula], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one finds the runs of the first."""
    monkeypatch.setattr(lock, "POLL", 0.05)
    waiting = threading.Event()
    folder = tmp_path / "here" / "sweeps" / "simclr_dyntemp-cosine-digits"

    def acquire(*_: object) -> str:
        waiting.set()
        return "the first"

    monkeypatch.setattr(lock, "_holder", acquire)
    with ThreadPoolExecutor() as pool:
        with lock.held(folder, Console(quiet=True)):
            second = pool.submit(search, "here", "trials=2")
            assert waiting.wait(60) and formula.epochs_run == 0
        assert len(second.result().trials) == 2


@pytest.mark.slow
def test_a_trial_that_was_measured_in_another_way_is_measured_again(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    """`dyntemp evaluate RUN --knn-k 5` writes other numbers into the same file."""
    whole, ran = search("here", "trials=2"), formula.epochs_run
    result = tmp_path / "here" / whole.ranked[0].run.path / "result.json"
    content = json.loads(result.read_text())
    content["evaluation"]["knn_k"] = 5
    content["results"]["trained"]["knn_acc1"] = 99.9
    result.write_text(json.dumps(content))
    again = search("here", "trials=2")
    assert [t.value for t in again.trials] == [t.value for t in whole.trials]
    assert formula.epochs_run > ran


@pytest.mark.slow
def test_if_nothing_finishes_the_reason_is_told(
    search: Search, formula: type[Formula], tmp_path: Path
) -> None:
    formula.fails = lambda cfg: True
    with pytest.raises(UserError, match=r"none of 3 trials finished.*loss is nan.*retry=true"):
        search("here", "trials=3")
    assert set(outputs(tmp_path / "here")) == {"trials.csv"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["space="], "name a space"),
        (["space=cosin"], "unknown space 'cosin'. Did you mean 'cosine'"),
        (["trials"], "cannot parse 'trials': write KEY=VALUE"),
        (["retry=maybe"], "retry must be true or false, got 'maybe'"),
        (["hydra/launcher=joblib"], "sweep.parallel=2"),
        (["method=simclr"], "arguments: method 'simclr' has no method_kwargs.tau"),
        (["max_epoch=3"], "Did you mean 'max_epochs'"),
        (["data=digts"], "Did you mean 'digits'"),
        (["sweep.parameters.tau_min.low=-1", "sweep.parameters.tau_min.log=false",
          "sweep.parameters.tau_max.log=false"], r"tau_min must be in \[0.0001, 100\]"),
    ],
)  # fmt: skip
def test_bad_words_are_told_before_anything_runs(
    search: Search, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        search("here", *words)
    assert not list((tmp_path / "here").iterdir())


def wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not found() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.nightly
@pytest.mark.slow
def test_killed_with_9_real_runs_end_with_the_same_bytes(tmp_path: Path) -> None:
    """Killed in the second trial's training; a pruned run is no failure.

    It is stopped between writing an epoch's numbers and its checkpoint, or later.
    """
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    process = subprocess.Popen(command(), cwd=broken, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(list(broken.rglob("metrics.csv"))) > 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for folder in (broken, whole):
        done = subprocess.run(command(), cwd=folder, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stderr
    assert outputs(broken) == outputs(whole)
    rows = pd.read_csv(sweep_folder(whole) / "trials.csv")
    assert set(rows.state) == {"finished", "pruned"} and not rows.problem.any()
    for run in rows.run[rows.state == "pruned"]:
        assert (whole / run / "metrics.csv").exists()
        assert not (whole / run / "error.json").exists()
        assert not (whole / run / "result.json").exists()
    assert (rows.run[rows.state == "finished"].map(lambda run: (whole / run / "result.json"))
            .map(Path.exists).all())  # fmt: skip


@pytest.mark.nightly
@pytest.mark.slow
def test_ctrl_c_ends_the_real_run_too(tmp_path: Path) -> None:
    process = subprocess.Popen(command(), cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    wait_for(lambda: bool(list(tmp_path.rglob("metrics.csv"))))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and "The same command goes on" in err
