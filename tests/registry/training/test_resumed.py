"""Runs that are stopped, killed or damaged, and started again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training import callbacks

Tiny = Callable[..., DictConfig]
RUNS = [
    ("mocov2plus_dyntemp", "32"),
    ("simclr", "64"),  # whose checkpoint must not be rounded to float32
    *(
        pytest.param(method, precision, marks=pytest.mark.nightly)
        for method, precision in (
            ("simclr", "32"), ("simclr_dyntemp", "32"), ("mocov2plus_dyntemp", "64"),
            ("mocov2plus_dyntemp", "bf16-true"), ("isogclr", "64"), ("isogclr", "bf16-true"),
            ("dino", "64"), ("swav", "bf16-true"),
        )
    ),
]  # fmt: skip
# 143 images in batches of 32, for what any run shows
SHORT = ("max_epochs=1", "data.fraction=0.1", "optimizer.batch_size=32",
         "telemetry.every_n_epochs=0")  # fmt: skip
BRIEF = (*SHORT, "evaluation.enabled=false")


FEW = ("data.fraction=0.1", "optimizer.batch_size=64", "evaluation.enabled=false",
       "telemetry.images=32")  # fmt: skip


class Killed(Exception):
    pass


def kill_after(monkeypatch: pytest.MonkeyPatch, epoch: int, given: DictConfig) -> list[int]:
    """Train, and die when `epoch` (from 0) is saved; return the epochs that were begun."""
    save, start = callbacks.LastCheckpoint.on_train_epoch_end, callbacks.SeedEpoch
    begun: list[int] = []
    seed = start.on_train_epoch_start

    def note(self: Any, trainer: Any, module: Any) -> None:
        begun.append(trainer.current_epoch)
        seed(self, trainer, module)

    def die(self: Any, trainer: Any, module: Any) -> None:
        save(self, trainer, module)
        if trainer.current_epoch == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(start, "on_train_epoch_start", note)
        patch.setattr(callbacks.LastCheckpoint, "on_train_epoch_end", die)
        with contextlib.suppress(Killed):
            pretrain(given)
    return begun


def as_text(run: RunFolder) -> dict[str, str]:
    return {name: (run.path / name).read_text() for name in ("result.json", "metrics.csv")}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "precision"), RUNS)
def test_a_run_stopped_and_resumed_ends_as_an_unbroken_one(
    tiny: Tiny, tmp_path: Path, method: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = [
        f"precision={precision}",
        "max_epochs=3",
        "data.num_workers=1",
        "knn_eval.enabled=true",
    ]
    extra += ["telemetry.every_n_epochs=1", "data.fraction=0.1", "optimizer.batch_size=32"]
    extra += ["evaluation.baselines=false"]
    unbroken = pretrain(tiny(method, *extra))
    broken = tiny(method, *extra, f"runs_dir={tmp_path}/broken")

    class Stop(Exception):
        pass

    save = callbacks.LastCheckpoint.on_train_epoch_end

    def die_after_two(self: Any, trainer: Any, module: Any) -> None:
        save(self, trainer, module)
        if trainer.current_epoch == 1:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.LastCheckpoint, "on_train_epoch_end", die_after_two)
        with pytest.raises(Stop):
            pretrain(broken)
    torch.manual_seed(1234)  # what ran before must not matter
    resumed = pretrain(broken)
    assert as_text(resumed) == as_text(unbroken)
    for name in ("mechanism.parquet", "trajectory.parquet"):
        assert (resumed.path / name).read_bytes() == (unbroken.path / name).read_bytes()
    weights = [read_checkpoint(run.checkpoint)["state_dict"] for run in (unbroken, resumed)]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.nightly
@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    words = [
        "method=simclr_dyntemp", "max_epochs=8", "data.num_workers=0", "evaluation.pictures=false",
        "backbone.kwargs.channels=[8,8,16,16]", "method_kwargs.proj_hidden_dim=16",
    ]  # fmt: skip
    command = [sys.executable, "-m", "solo_registry", "pretrain", *words]
    whole = subprocess.run([*command, f"runs_dir={tmp_path}/whole"], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen([*command, f"runs_dir={tmp_path}/killed"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("killed/**/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("killed/**/result.json"))
    again = subprocess.run(
        [*command, f"runs_dir={tmp_path}/killed"], capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "resuming from" in again.stdout
    for name in ("result.json", "metrics.csv"):
        one, other = (next(tmp_path.glob(f"{kind}/**/{name}")) for kind in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_the_checkpoint_of_another_config_is_refused(tiny: Tiny) -> None:
    run = pretrain(tiny("simclr", *BRIEF))
    other = tiny(
        "simclr", "method_kwargs.temperature=0.5", f"resume_from_checkpoint={run.checkpoint}"
    )
    with pytest.raises(UserError, match="belongs to another config or seed"):
        pretrain(other)
    with pytest.raises(UserError, match=r"^resume_from_checkpoint: no checkpoint at nowhere.ckpt"):
        pretrain(tiny("simclr", "resume_from_checkpoint=nowhere.ckpt"))


def test_a_checkpoint_that_holds_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "evil": Evil()}, path)
    with pytest.raises(UserError, match="damaged or holds more than weights"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_damaged_checkpoint_is_named_before_training(tiny: Tiny, damage: str) -> None:
    given = tiny("simclr", *BRIEF)
    run = pretrain(given)
    if damage == "foreign":
        torch.save({"state_dict": {}}, run.checkpoint)
    else:
        whole = run.checkpoint.read_bytes()
        run.checkpoint.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(UserError, match=r"last\.ckpt (is damaged|is no checkpoint of a run)"):
        pretrain(given)


@pytest.mark.slow
def test_resuming_from_a_copy_of_the_runs_own_checkpoint(tiny: Tiny, tmp_path: Path) -> None:
    given = tiny("simclr", *BRIEF)
    run = pretrain(given)
    copy = run.checkpoint.rename(tmp_path / "copy.ckpt")
    pretrain(tiny("simclr", *SHORT, f"resume_from_checkpoint={copy}"))
    assert run.checkpoint.read_bytes() == copy.read_bytes()
    assert run.read_result() is not None
    with pytest.raises(UserError, match="belongs to another config or seed"):
        pretrain(tiny("simclr", *SHORT, "seed=6", f"resume_from_checkpoint={copy}"))


@pytest.mark.slow
def test_started_at_a_named_checkpoint_and_killed_it_goes_on_from_its_own(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*FEW, "max_epochs=4", "telemetry.every_n_epochs=0")
    assert kill_after(monkeypatch, 0, tiny("simclr", *words)) == [0]
    (saved,) = tmp_path.rglob("last.ckpt")
    copy = saved.rename(tmp_path / "copy.ckpt")
    again = tiny("simclr", *words, f"resume_from_checkpoint={copy}")
    assert kill_after(monkeypatch, 2, again) == [1, 2]
    assert kill_after(monkeypatch, 9, again) == [3]


@pytest.mark.slow
def test_a_part_without_telemetry_keeps_the_rows_of_the_others(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*FEW, "max_epochs=4")
    for epoch, every in ((0, 1), (1, 0), (9, 1)):
        kill_after(monkeypatch, epoch, tiny("simclr", *words, f"telemetry.every_n_epochs={every}"))
    (table,) = tmp_path.rglob("trajectory.parquet")
    assert pd.read_parquet(table)["epoch"].tolist() == [0, 1, 3, 4]


@pytest.mark.slow
def test_other_threads_are_told_and_kept(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*FEW, "max_epochs=2", "telemetry.every_n_epochs=0")
    words += ("data.fraction=0.02", "optimizer.batch_size=16")  # idle threads take time too
    kill_after(monkeypatch, 0, tiny("simclr", *words))
    torch.set_num_threads(2)
    told = Console(file=io.StringIO(), width=400)
    run = pretrain(tiny("simclr", *words), told)
    assert "which can move the numbers: threads 1, now 2" in told.file.getvalue()  # type: ignore[attr-defined]
    found = json.loads((run.path / "environment.json").read_text())
    assert [part["threads"] for part in found["parts"]] == [1, 2] and found["threads"] == 2


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.distributed
def test_a_run_that_is_started_twice_is_trained_once(tmp_path: Path) -> None:
    words = ["method=simclr", "evaluation.pictures=false", "max_epochs=3", "progress=lines",
             "backbone.kwargs.channels=[8,8,16,16]", "data.num_workers=0", *FEW]  # fmt: skip
    words.remove("evaluation.enabled=false")
    command = [sys.executable, "-m", "solo_registry", "pretrain", *words, "evaluation.knn_k=5"]
    started = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]  # fmt: skip
    texts = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert "".join(texts).count("epoch 1/3") == "".join(texts).count("epoch 3/3") == 1
    waited = [text for text in texts if "is working on" in text]
    assert len(waited) == 1 and "already finished" in waited[0]
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
