"""Shared by all tests: quiet third parties, one thread, registered plugins, small configs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS

TINY = {
    "data": {"dataset": "digits", "num_workers": 0},
    "backbone": {"name": "resnet18_narrow", "kwargs": {"channels": [8, 8, 16, 16]}},
    "augmentations": [{"crop_size": 8, "num_crops": 2, "rrc": {"crop_min_scale": 0.5}}],
    "optimizer": {"name": "sgd", "batch_size": 128, "lr": 0.1, "classifier_lr": 0.1},
    "scheduler": {"warmup_epochs": 1},
    "evaluation": {"pictures": False},
    "telemetry": {"images": 128},
    "max_epochs": 2,
    "progress": "none",
    "accelerator": "cpu",
}
# values that keep a method small, for those of its `method_kwargs` that have such a name
SMALL = {
    "proj_hidden_dim": 16, "proj_output_dim": 8, "pred_hidden_dim": 16, "queue_size": 256,
    "num_prototypes": 10,
}  # fmt: skip


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
        known = METHODS.get(method).KWARGS
        small = {key: value for key, value in SMALL.items() if key in known}
        own = {"method": method, "method_kwargs": small, "runs_dir": str(tmp_path / "runs")}
        base = OmegaConf.create({**TINY, **own})
        return OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)), extra)  # type: ignore[return-value]

    return make
