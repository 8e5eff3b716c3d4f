"""Shared by all tests: tiers, one thread, registered plugins, small configs."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Tests are many and small, and numbers are equal to the last digit only with as many threads. So
# torch gets one here, before it is imported, and in every process that a test starts.
os.environ["OMP_NUM_THREADS"] = "1"

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
TIERS = ("nightly", "slow", "distributed")  # the marks that `make check` or `make test` leave out
LEFT_OUT = pytest.StashKey[Counter[tuple[str, str]]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests: two workers then end at about the same time."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("distributed", "slow"))))


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what `-m` leaves out, by mark and file."""
    for item in items:
        left_out = item.config.stash.setdefault(LEFT_OUT, Counter())
        mark = next((mark for mark in TIERS if item.get_closest_marker(mark)), "other")
        left_out[mark, item.nodeid.partition("::")[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts of an xdist worker to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        counts = session.config.stash.get(LEFT_OUT, Counter())
        session.config.workeroutput["left_out"] = [(*key, n) for key, n in counts.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a worker; all workers collect the same tests."""
    sent = getattr(node, "workeroutput", {}).get("left_out", [])
    node.config.stash[LEFT_OUT] = Counter({(mark, file): n for mark, file, n in sent})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was left out."""
    counts = config.stash.get(LEFT_OUT, Counter())
    for mark in sorted({mark for mark, _ in counts}):
        files = {file: n for (one, file), n in counts.items() if one == mark}
        terminalreporter.write_line(f"left out, marked {mark}: {sum(files.values())} tests")
        for file, n in files.items():
            terminalreporter.write_line(f"    {n:4d}  {file}")


@pytest.fixture(autouse=True)
def only_slow_tests_train(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test train only if it is marked slow: `make check` runs the others."""
    lightning = sys.modules.get("lightning.pytorch")
    if lightning and not request.node.get_closest_marker("slow"):

        def fit(*_: Any, **__: Any) -> None:
            pytest.fail("this test trains: mark it with @pytest.mark.slow")

        monkeypatch.setattr(lightning.Trainer, "fit", fit)


@pytest.fixture(autouse=True, scope="session")
def plugins() -> None:
    """Register methods and data sets as the command does."""
    load_plugins()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo what a test does to the number of threads."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., DictConfig]:
    """Return a maker of small configs: tiny("simclr", "max_epochs=1", "seed=3")."""
    return partial(tiny_config, tmp_path / "runs")


def tiny_config(runs_dir: Path, method: str, *overrides: str, **extra: Any) -> DictConfig:
    """Return a small config, for fixtures that outlive a test; tests take `tiny`."""
    known = METHODS.get(method).KWARGS
    small = {key: value for key, value in SMALL.items() if key in known}
    own = {"method": method, "method_kwargs": small, "runs_dir": str(runs_dir)}
    base = OmegaConf.create({**TINY, **own})
    return OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)), extra)  # type: ignore[return-value]
