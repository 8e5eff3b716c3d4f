"""Sweeps whose runs take no time: all is real but the training, a formula."""

from __future__ import annotations

import copy
import math
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig
from rich.console import Console

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.data.opened import open_data
from solo_registry.jobs.hydra_launcher import HydraSession
from solo_registry.jobs.worker import write_error
from solo_registry.metrics.protocol import PROTOCOLS
from solo_registry.runs.run_folder import SCHEMA_VERSION, RunFolder, write_json
from solo_registry.sweep.run import run_sweep
from solo_registry.sweep.state import Sweep

EPOCHS = 6
WORDS = ("method=simclr_dyntemp", "data=digits", "space=cosine", f"max_epochs={EPOCHS}")
FAST = ("sweep.random_trials=3", "sweep.pruner.startup_trials=2", "sweep.pruner.warmup=0.2")
# the real training of a minute
TINY = (
    "method=simclr_dyntemp", "data=digits", "space=cosine", "trials=4", "max_epochs=3",
    "backbone.kwargs.channels=[8,8,16,16]", "optimizer.batch_size=512", "sweep.random_trials=2",
    "sweep.pruner.startup_trials=1", "sweep.pruner.warmup=0.3",
)  # fmt: skip
Search = Callable[..., Sweep]
COMPOSED: dict[tuple[str, ...], DictConfig] = {}  # most of the time goes into composing the same


class Crash(BaseException):
    """In place of kill -9: nothing but the run folders survives."""


def quality(cfg: DictConfig) -> float:
    """Best at tau_min = 0.1, tau_max = 0.3."""
    kwargs = cfg.method_kwargs
    return 95 - 20 * abs(math.log(kwargs.tau_min / 0.1)) - 10 * abs(math.log(kwargs.tau_max / 0.3))


class Formula:
    """Looks like a run's process; each `join` is an epoch."""

    left = 10**9  # epochs until the crash
    fails = staticmethod(lambda cfg: False)
    quality = staticmethod(quality)
    epochs_run = 0

    def __init__(self, cfg: DictConfig, words: list[str], run: RunFolder) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not monotone
            self.cfg = resolve(cfg)
        self.cfg.data.digest = open_data(self.cfg.data).digest
        self.run, self.exitcode = run, None
        run.open(cfg, self.cfg, {})
        old = pd.read_csv(run.metrics).to_dict("records") if run.metrics.exists() else []
        self.rows: list[dict[str, Any]] = old[: max(0, len(old) - 1)]  # as if a checkpoint behind

    def is_alive(self) -> bool:
        return self.exitcode is None

    def terminate(self) -> None:
        self.exitcode = 143

    def join(self, timeout: float | None = None) -> None:
        if self.exitcode is not None:
            return
        if Formula.left == 0:
            raise Crash
        Formula.left -= 1
        Formula.epochs_run += 1
        done = len(self.rows) + 1
        if Formula.fails(self.cfg) and done == 3:
            write_error(self.run, "ValueError: the loss is nan", "")
            self.exitcode = 1
            return
        noise = zlib.crc32(f"{config_hash(self.cfg)}/{done}".encode()) % 100 / 50
        value = Formula.quality(self.cfg) * (1 - math.exp(-done)) + noise
        self.rows.append({"epoch": done - 1, "val_acc1": 50, "val_knn_acc1": value})
        pd.DataFrame(self.rows).to_csv(self.run.metrics, index=False)
        if done == EPOCHS:
            finish(self.run, self.cfg, Formula.quality(self.cfg))
            self.exitcode = 0


def finish(run: RunFolder, cfg: DictConfig, knn: float) -> None:
    """Write result.json."""
    numbers = dict.fromkeys(PROTOCOLS, 0.5) | {"knn_acc1": knn}
    result = {"schema_version": SCHEMA_VERSION, "config_hash": config_hash(cfg), "seed": cfg.seed,
              "name": cfg.name, "method": cfg.method, "dataset": "digits", "backbone": "resnet",
              "method_kwargs": {}, "evaluation": {"linear": False, "baselines": False},
              "protocols": {}, "results": {"trained": numbers}, "split": "validation",
              "test_images": 287}  # fmt: skip
    write_json(run.result, result)


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Formula]]:
    """Replace the training of runs."""
    from solo_registry.runs import run_folder
    from solo_registry.sweep import on_ray

    monkeypatch.setattr(run_folder, "environment", lambda: {"threads": 1, "versions": {}})
    compose = HydraSession.compose

    def once(self: HydraSession, words: list[str]) -> DictConfig:
        key = (self.runs_dir, *words)
        COMPOSED[key] = COMPOSED.get(key) or compose(self, words)
        return copy.deepcopy(COMPOSED[key])

    monkeypatch.setattr(HydraSession, "compose", once)
    monkeypatch.setattr(on_ray, "start", Formula)
    monkeypatch.setattr(Formula, "left", 10**9)
    monkeypatch.setattr(Formula, "fails", staticmethod(lambda cfg: False))
    monkeypatch.setattr(Formula, "quality", staticmethod(quality))
    monkeypatch.setattr(Formula, "epochs_run", 0)
    yield Formula


@pytest.fixture
def search(formula: type[Formula], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Return a function that sweeps in a folder: search("here", "trials=3")."""

    def run(folder: str, *words: str) -> Sweep:
        with inside(tmp_path / folder, monkeypatch):
            return run_sweep([*WORDS, *FAST, *words], Console(quiet=True))

    return run


@contextmanager
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder."""
    folder.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        yield


def outputs(folder: Path) -> dict[str, bytes]:
    """All files of a sweep, byte for byte."""
    (sweep,) = (folder / "sweeps").iterdir()
    return {path.name: path.read_bytes() for path in sweep.iterdir()}


def sweep_folder(folder: Path) -> Path:
    """The folder of the results, below the one where the command was given."""
    return folder / "sweeps" / "simclr_dyntemp-cosine-digits"


def command(*words: str) -> list[str]:
    """Return the command of a sweep with real training."""
    return [sys.executable, "-m", "solo_registry", "sweep", *TINY, *words]
