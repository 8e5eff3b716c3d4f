"""Runs made of files alone: real run folders, chosen numbers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.metrics.protocol import PROTOCOLS
from solo_registry.runs.run_folder import SCHEMA_VERSION, RunFolder, write_json

MakeRun = Callable[..., RunFolder]
STUB = '#!/bin/sh\nprintf "%s\\0" "$@" > words\n'


def pasted(command: str, folder: Path) -> list[str]:
    """Return the words that `dyntemp` gets if a command is pasted into a shell in `folder`."""
    stub = folder / "bin" / "dyntemp"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    environment = {"PATH": f"{stub.parent}:/usr/bin:/bin"}
    subprocess.run(["sh", "-c", command], cwd=folder, env=environment, check=True)
    assert not (folder / "hacked").exists()
    return (folder / "words").read_text().split("\0")[:-1]


@pytest.fixture
def make_run(tiny: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Return a maker of finished runs: make_run(method, seed, kNN accuracy, words...)."""
    from solo_registry.runs import run_folder

    monkeypatch.setattr(run_folder, "environment", lambda: {"threads": 1, "versions": {}})

    def make(method: str, seed: int, knn: float, *words: str) -> RunFolder:
        given = tiny(method, f"seed={seed}", *words)
        cfg = resolve(given)
        cfg.data.digest = "d" + 15 * "0"
        run = RunFolder.of(cfg)
        run.open(given, cfg, {})
        numbers = {key: 0.5 + knn / 1000 for key in PROTOCOLS} | {"knn_acc1": knn}
        numbers |= {"knn_k": 20, "knn_temperature": 0.1, "knn_distance": "cosine"}
        result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION, "config_hash": config_hash(cfg), "seed": seed,
            "name": cfg.name, "method": method, "dataset": "digits", "backbone": "resnet",
            "train_images": 1437, "test_images": 360,
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
