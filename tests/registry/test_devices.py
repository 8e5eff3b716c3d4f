"""Which device evaluation uses; no GPU is needed, torch is told that there are two."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.console import terminal
from solo_registry.devices import device_of
from solo_registry.evaluation.run import evaluate_again
from solo_registry.training.classifier import Recipe
from solo_registry.training.classify import classify
from solo_registry.training.pretrain import pretrain


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
