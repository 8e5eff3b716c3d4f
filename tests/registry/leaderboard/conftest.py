"""Boards made of files alone: real run folders, chosen numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.registry.conftest import MakeRun

from solo_registry.leaderboard.board import BOARD_VERSION
from solo_registry.runs.run_folder import RunFolder, write_json

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
