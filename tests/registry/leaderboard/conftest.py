"""Boards made of files alone: real run folders, chosen numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.leaderboard.board import BOARD_VERSION
from solo_registry.metrics.protocol import PROTOCOLS
from solo_registry.runs.run_folder import SCHEMA_VERSION, RunFolder, write_json

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Return a maker of finished runs: make_run(method, seed, kNN accuracy, words...)."""
    from solo_registry.training import run_folder

    monkeypatch.setattr(run_folder, "environment", lambda: {"threads": 1, "versions": {}})

    def make(method: str, seed: int, knn: float, *words: str) -> RunFolder:
        given = tiny(method, f"seed={seed}", *words)
        cfg = resolve(given)
        cfg.data.digest = "d" + 15 * "0"
        run = RunFolder.of(cfg)
        run.open(given, cfg, {})
        numbers = {key: 0.5 + knn / 1000 for key in PROTOCOLS} | {"knn_acc1": knn}
        result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION, "config_hash": config_hash(cfg), "seed": seed,
            "name": cfg.name, "method": method, "dataset": "digits", "backbone": "resnet",
            "method_kwargs": OmegaConf.to_container(cfg.method_kwargs), "evaluation": {},
            "split": "validation" if cfg.data.validation_fraction else "test",
            "protocols": {key: f"protocol of {key}" for key in PROTOCOLS},
            "results": {name: numbers for name in ("raw_pixels", "untrained", "trained")},
        }  # fmt: skip
        write_json(run.result, result)
        write_json(run.path / "cost.json", {"device": "cpu", "train_seconds": 2.0 + seed,
                                            "peak_host_bytes": 2**30, "epochs": 2})  # fmt: skip
        rows = "\n".join(f"{e},{e},0.1,{3.0 - e},{knn - 5 + e}" for e in (0, 1))
        run.metrics.write_text(f"epoch,step,lr,train_loss,val_acc1\n{rows}\n")
        return run

    return make


SCORES = {"fixed": (90.0, 91.0, 92.0), "cosine": (92.0, 93.2, 94.1), "twin": (90.1, 90.8, 92.0)}


@pytest.fixture
def board(make_run: MakeRun, tmp_path: Path) -> Path:
    """Return a board of three strategies, three seeds and a tuned 2 x 2 grid."""
    jobs = []

    def add(strategy: str, phase: str, point: list[str], run: RunFolder) -> None:
        path = run.path.relative_to(tmp_path / "runs").as_posix()
        seed = int(run.path.name)
        words = [f"method={strategy}", *point, f"seed={seed}"]
        jobs.append({"strategy": strategy, "phase": phase, "point": point, "seed": seed,
                     "words": words, "path": path})  # fmt: skip

    for place, (name, scores) in enumerate(SCORES.items()):
        for seed, score in enumerate(scores, start=1):
            word = f"method_kwargs.temperature={0.1 + place}"
            add(name, "final", ["method_kwargs.tau_max=0.3"], make_run("simclr", seed, score, word))
    for low in (0.1, 0.2):
        for high in (0.3, 0.4):
            point = [f"method_kwargs.tau_min={low}", f"method_kwargs.tau_max={high}"]
            words = [*point, "data.validation_fraction=0.2"]
            add("cosine", "tuning", point, make_run("simclr_dyntemp", 1001, 80 + low, *words))
    plan = {
        "schema_version": BOARD_VERSION, "name": "three", "seeds": [1, 2, 3], "words": [],
        "runs_dir": "../../runs", "jobs": jobs,
        "suite": {
            "about": "a test", "metric": "knn_acc1", "reference": "fixed",
            "tuning": {"points": 4, "seeds": [1001], "validation_fraction": 0.2},
            "strategies": {name: {"about": f"<b>{name}</b>"} for name in SCORES},
        },
    }  # fmt: skip
    selected = {
        name: {"point": ["method_kwargs.tau_min=0.1", "method_kwargs.tau_max=0.3"], "why": "x"}
        for name in SCORES
    }
    folder = tmp_path / "boards" / "three"
    write_json(folder / "board.json", plan)
    write_json(folder / "selected.json", selected)
    return folder


def change(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
