from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from solo_registry.runs.run_folder import RunFolder
from solo_registry.sweep import follow
from solo_registry.sweep.plan import Trial


class Asked:
    """Optuna's side: prunes at a given epoch."""

    def __init__(self, at: int) -> None:
        self.at, self.reports, self.questions = at, [], 0  # type: ignore[var-annotated]

    def report(self, value: float, step: int) -> None:
        self.reports.append((step, value))

    def should_prune(self) -> bool:
        self.questions += 1
        return bool(self.reports[-1][0] >= self.at)


def pruned(
    at: int, found: dict[int, float], seen: dict[int, float], epochs: int
) -> tuple[Any, Any]:
    trial, asked = Trial(1, {}, [], RunFolder(Path("x/y"))), Asked(at)
    trial.curve = dict(seen)
    return follow.prune(trial, asked, found, epochs), asked  # type: ignore[arg-type]


def test_only_new_epochs_are_reported_and_what_comes_after_the_end_is_not() -> None:
    """A run that got further before it was ended comes to the same end when it is read again."""
    curve = {1: 10.0, 2: 11.0, 3: 12.0, 4: 13.0}
    found, asked = pruned(3, curve, {1: 10.0}, 9)
    assert found and asked.reports == [(2, 11.0), (3, 12.0)]


def test_the_last_epoch_is_reported_and_ends_nothing() -> None:
    found, asked = pruned(2, {1: 10.0, 2: 11.0}, {}, 2)
    assert not found and len(asked.reports) == 2 and asked.questions == 1


def test_a_curve_is_read_by_epochs_done_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert follow.curve(run, "val_acc1") == {}
    run.metrics.write_text("epoch,val_acc1\n0,\n1,20.5\n")
    assert follow.curve(run, "val_acc1") == {2: 20.5}
    assert follow.curve(run, "val_knn_acc1") == {}
    for text in ("", "epoch,val_acc1\n0,x\n", 'epoch,val_acc1\n"0'):
        run.metrics.write_text(text)
        assert follow.curve(run, "val_acc1") == {}


# as text: a spawned process need not find this file, and under plain `pytest` it does not
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready.set()
time.sleep(60)
"""


def test_a_process_that_is_ended_is_gone_even_if_it_does_not_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "GRACE", 0.1)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    process = spawn.Process(target=exec, args=(STUBBORN, {"ready": ready}))
    process.start()
    assert ready.wait(30)
    follow.end(process)
    assert process.exitcode == -signal.SIGKILL
