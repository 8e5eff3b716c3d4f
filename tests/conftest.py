"""Shared by all tests: quiet third parties, one thread, registered plugins, small configs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.plugins import load_plugins

TINY = {
    "data": {"dataset": "digits", "num_workers": 0},
    "backbone": {"name": "resnet18_narrow", "kwargs": {"channels": [8, 8, 16, 16]}},
    "augmentations": [{"crop_size": 8, "num_crops": 2, "rrc": {"crop_min_scale": 0.5}}],
    "optimizer": {"name": "sgd", "batch_size": 128, "lr": 0.1, "classifier_lr": 0.1},
    "scheduler": {"warmup_epochs": 1},
    "method_kwargs": {"proj_hidden_dim": 16, "proj_output_dim": 8},
    "evaluation": {"pictures": False},
    "max_epochs": 2,
    "progress": "none",
    "accelerator": "cpu",
}


@pytest.fixture(autouse=True, scope="session")
def plugins() -> None:
    """Register methods and data sets as the command does."""
    load_plugins()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests are many and small: threads would only get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., DictConfig]:
    """Return a maker of small configs: tiny("simclr", "max_epochs=1", "seed=3")."""

    def make(method: str, *overrides: str, **extra: Any) -> DictConfig:
        base = OmegaConf.create({**TINY, "method": method, "runs_dir": str(tmp_path / "runs")})
        if method.startswith("mocov2plus"):
            base.method_kwargs.queue_size = 256
        return OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)), extra)  # type: ignore[return-value]

    return make
