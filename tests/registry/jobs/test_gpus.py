"""Which GPUs a run takes; only their number is pretended."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from solo_registry.jobs import gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs, on which no run goes on."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "_held", {})
    monkeypatch.setenv(VISIBLE, "")
    monkeypatch.delenv(VISIBLE)


def taken(devices: object, accelerator: str = "auto") -> str | None:
    gpus.take_gpus(OmegaConf.create({"devices": devices, "accelerator": accelerator}))
    return os.environ.get(VISIBLE)


def test_runs_share_gpus_evenly_and_free_them(tmp_path: Path) -> None:
    names = ["0", "1", "2", "3"]
    first, second = gpus.claim(names, 1, tmp_path), gpus.claim(names, 2, tmp_path)
    assert list(first) == ["0"] and list(second) == ["1", "2"]
    third = gpus.claim(names, 2, tmp_path)
    assert list(third) == ["3", "0"]  # of the second round
    assert list(gpus.claim(names, 3, tmp_path)) == ["1", "2", "3"]
    first["0"].release()
    assert list(gpus.claim(names, 1, tmp_path)) == ["0"]


def test_the_variable_names_what_was_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(1) == "0"
    monkeypatch.delenv(VISIBLE)
    assert taken(1) == "0"  # CUDA is bound to it in this process
    monkeypatch.setattr(gpus, "_held", {})
    monkeypatch.setenv(VISIBLE, "5,GPU-ab,7,9,11")
    assert taken(2) == "5,GPU-ab"


@pytest.mark.parametrize("devices", [4, "4", 9, "auto", -1, [1], [0, 1], "2,"])
def test_ids_and_all_gpus_are_left_as_they_are(devices: object) -> None:
    assert taken(devices) is None


def test_a_cpu_and_cuda_in_use_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(1, "cpu") is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert taken(1) is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert taken(1) is None


@pytest.mark.distributed
def test_a_killed_run_frees_its_gpu(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from solo_registry.jobs import gpus\n"
        "held = gpus.claim(['0', '1'], 1, Path(sys.argv[1])); print(*held, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None and other.stdout.readline() == "0\n"
        beside = gpus.claim(["0", "1"], 1, tmp_path)
        assert list(beside) == ["1"]
        other.kill()
    assert list(gpus.claim(["0", "1"], 1, tmp_path)) == ["0"]
