"""Which devices a run trains and is measured on; no GPU is needed, torch is told that there are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.config import devices
from solo_registry.config.devices import (
    count_devices,
    device_of,
    read_devices,
    trainer_accelerator,
    trainer_devices,
)
from solo_registry.config.resolve import resolve
from solo_registry.console import terminal
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.run import evaluate_again
from solo_registry.jobs.pretrain import pretrain

Tiny = Callable[..., DictConfig]
# Lightning's meaning: a number is a count, a comma makes ids
SPELLINGS: list[tuple[Any, Any, int]] = [
    (3, 3, 3), ("3", 3, 3), ("3,", [3], 1), ("0,", [0], 1), ("0,1", [0, 1], 2),
    ("0, 2,", [0, 2], 2), ([3], [3], 1), ([0, 2], [0, 2], 2),
]  # fmt: skip


@pytest.mark.parametrize(("given", "read", "count"), SPELLINGS)
def test_a_spelling_means_what_lightning_means(given: Any, read: Any, count: int) -> None:
    from lightning.fabric.utilities.device_parser import (
        _normalize_parse_gpu_input_to_list,
        _normalize_parse_gpu_string_input,
    )

    cfg = OmegaConf.create({"devices": given, "accelerator": "cpu"})
    assert read_devices(cfg.devices) == read
    assert count_devices(cfg) == trainer_devices(cfg) == count  # a CPU has no ids
    plain = _normalize_parse_gpu_string_input(given)
    theirs = _normalize_parse_gpu_input_to_list(plain, include_cuda=True, include_mps=False)
    assert theirs == (list(range(read)) if isinstance(read, int) else read)


@pytest.mark.parametrize("given", ["auto", "-1", -1])
def test_auto_is_one_process_on_a_cpu_and_every_gpu_elsewhere(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = OmegaConf.create({"devices": given, "accelerator": "auto"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trainer_devices(cfg) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert trainer_devices(cfg) == count_devices(cfg) == 4
    cfg.devices = "3,"
    assert trainer_devices(cfg) == [3] and count_devices(cfg) == 1


WRONG = (
    None, True, False, 0, "0", -2, "-2", 2.5, "2.5", "", ",", "0,,1", "a,b", "many", [], [0, 0],
    [-1], ["0"], [True], {"0": 1}, "9" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("given", WRONG)
def test_what_lightning_would_not_read_is_a_paragraph(tiny: Tiny, given: Any) -> None:
    with pytest.raises(UserError, match="devices must be a count, a list of ids or auto, got"):
        resolve(tiny("simclr", devices=given))


def test_a_cpu_takes_as_many_processes_as_it_has_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = OmegaConf.create({"devices": 1000, "accelerator": "cpu"})
    with pytest.raises(UserError, match="devices=1000 would start 1000 processes on the CPU"):
        trainer_devices(cfg)
    monkeypatch.setattr(devices, "cores", lambda: 1000)
    assert trainer_devices(cfg) == 1000
    assert count_devices(cfg) == 1000  # a board of a large machine is read on every machine


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process")
def test_a_job_that_is_bound_to_a_core_has_one() -> None:
    bound = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    program = f"{bound}; from solo_registry.config.devices import cores; print(cores())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_the_rate_follows_from_how_many_devices_there_are(tiny: Tiny) -> None:
    rates = {
        str(given): resolve(tiny("simclr", devices=given)).optimizer.effective_lr
        for given in ("3,", "0,", [3], 1)
    }
    assert set(rates.values()) == {0.1 * 128 / 256}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("accelerator", "devices", "expected"),
    [
        ("cpu", 1, "cpu"), ("cpu", [1], "cpu"), ("mps", 1, "cpu"), ("auto", 1, "cuda:0"),
        ("gpu", 2, "cuda:0"), ("gpu", [1], "cuda:1"), ("gpu", [1, 0], "cuda:1"),
        ("gpu", "1,", "cuda:1"), ("auto", "1, 0", "cuda:1"), ("gpu", "2", "cuda:0"),
        ("auto", "auto", "cuda:0"), ("auto", -1, "cuda:0"), ("gpu", "-1", "cuda:0"),
        ("gpu", [7], "cuda:0"),  # trained on a larger machine
    ],
)  # fmt: skip
def test_the_first_device_of_the_config(
    two_gpus: None, accelerator: str, devices: Any, expected: str
) -> None:
    cfg = {"accelerator": accelerator, "devices": devices}
    for form in (OmegaConf.create(cfg), SimpleNamespace(**cfg)):
        assert str(device_of(form)) == expected


def test_without_a_gpu_it_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(device_of(SimpleNamespace(accelerator="gpu", devices=[1]))) == "cpu"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_nothing_of_a_run_on_the_cpu_is_measured_on_a_gpu(
    tiny: Callable[..., DictConfig], request: pytest.FixtureRequest
) -> None:
    run = pretrain(
        tiny("simclr", "accelerator=cpu", "max_epochs=1", "data.fraction=0.1",
             "optimizer.batch_size=32", "telemetry.images=32", "evaluation.enabled=false")
    )  # fmt: skip
    request.getfixturevalue("two_gpus")
    assert evaluate_again(run.path, {}, terminal())["results"]["trained"]["knn_acc1"] > 0
    assert classify(run.path, Recipe(frozen=True, epochs=1, lr=0.1), terminal())["acc1"] > 0


@pytest.mark.slow
def test_a_mac_trains_on_its_cpu_unless_asked(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lightning.pytorch.accelerators import MPSAccelerator

    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    cfg = tiny("simclr", "accelerator=auto", "data.fraction=0.1", "progress=auto")
    assert pretrain(cfg, terminal()).result.exists()
    assert "trains on the CPU: Apple's GPU" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"telemetry\.every_n_epochs=0"):
        trainer_accelerator(resolve(tiny("simclr", "accelerator=mps")))
    cfg = resolve(tiny("simclr", "accelerator=mps", "telemetry.every_n_epochs=0"))
    assert trainer_accelerator(cfg) == "mps"
