"""Boards made of files alone: real run folders, chosen numbers."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from tests.registry.conftest import MakeRun

from solo_registry.leaderboard.board import BOARD_VERSION
from solo_registry.runs.read import MARK, SEAL, sealed
from solo_registry.runs.run_folder import RunFolder, write_json

QUIET = Console(quiet=True)
SCORES = {"fixed": (90.0, 91.0, 92.0), "cosine": (92.0, 93.2, 94.1), "twin": (90.1, 90.8, 92.0)}
GRID = {"method_kwargs.tau_min": [0.1, 0.2], "method_kwargs.tau_max": [0.3, 0.4]}
CHOSEN = ["method_kwargs.tau_min=0.1", "method_kwargs.tau_max=0.3"]


def once(
    make: Callable[[MakeRun, Path], Path],
) -> Callable[[MakeRun, Path, pytest.TempPathFactory], Path]:
    """Return the maker of a fixture: the first test makes the folder, others get a copy of it."""
    made: list[Path] = []

    def copied(make_run: MakeRun, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        if not made:
            folder, kept = make(make_run, tmp_path), tmp_path_factory.mktemp("made")
            for name in ("boards", "runs"):
                shutil.copytree(tmp_path / name, kept / name)
            made.extend((kept, tmp_path, folder.relative_to(tmp_path)))
            return folder
        kept, before, folder = made
        for name in ("boards", "runs"):
            shutil.copytree(kept / name, tmp_path / name)
        for config in tmp_path.rglob("*.yaml"):  # they name the folder of the runs
            text = config.read_text().replace(str(before), str(tmp_path))
            body, seal, _ = text.removeprefix(MARK).partition(SEAL)
            config.write_text(sealed(body) if seal else text)
        return tmp_path / folder

    copied.__doc__ = make.__doc__
    return copied


@pytest.fixture
@once
def board(make_run: MakeRun, tmp_path: Path) -> Path:
    """Return a board of three strategies, three seeds and a tuned 2 x 2 grid."""
    runs = [
        (name, "final", CHOSEN, final(make_run, name, seed, score))
        for name, scores in SCORES.items()
        for seed, score in enumerate(scores, start=1)
    ]
    for low, high in itertools.product(*GRID.values()):
        point = [f"method_kwargs.tau_min={low}", f"method_kwargs.tau_max={high}"]
        words = [*point, "data.validation_fraction=0.2"]
        run = make_run("simclr_dyntemp", 1001, 80 + low, *words)
        runs.append(("cosine", "tuning", point, run))
    return write_board(tmp_path, [1, 2, 3], runs)  # fmt: skip


@pytest.fixture
@once
def small(make_run: MakeRun, tmp_path: Path) -> Path:
    """Return a board of two runs, which is read in no time."""
    runs = [(name, "final", CHOSEN, final(make_run, name, 1, SCORES[name][0]))
            for name in ("fixed", "cosine")]  # fmt: skip
    return write_board(tmp_path, [1], runs)


def final(make_run: MakeRun, name: str, seed: int, score: float) -> RunFolder:
    """Make a final run of a strategy."""
    return make_run(
        "simclr", seed, score, f"method_kwargs.temperature={0.1 + [*SCORES].index(name)}"
    )


def write_board(
    tmp_path: Path, seeds: list[int], runs: list[tuple[str, str, list[str], RunFolder]]
) -> Path:
    """Write the files of a board of these runs."""
    jobs = [
        {"strategy": name, "phase": phase, "point": point, "seed": int(run.path.name),
         "words": [f"method={name}", *point, f"seed={run.path.name}"],
         "path": run.path.relative_to(tmp_path / "runs").as_posix()}
        for name, phase, point, run in runs
    ]  # fmt: skip
    names = list(dict.fromkeys(name for name, *_ in runs))
    plan = {
        "schema_version": BOARD_VERSION, "name": "three", "seeds": seeds, "words": [],
        "runs_dir": "../../runs", "jobs": jobs,
        "suite": {
            "about": "a test", "metric": "knn_acc1", "reference": "fixed",
            "tuning": {"points": 4, "seeds": [1001], "validation_fraction": 0.2},
            "strategies": {name: {"about": f"<b>{name}</b>", "grid": GRID} for name in names},
        },
    }  # fmt: skip
    folder = tmp_path / "boards" / "three"
    write_json(folder / "board.json", plan)
    write_json(folder / "selected.json", {name: {"point": CHOSEN, "why": "x"} for name in names})
    return folder


def change(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def table(board: Path) -> pd.DataFrame:
    """Return the results.csv of a board's report."""
    return pd.read_csv(board / "report" / "results.csv").set_index("strategy")


def first_run(board: Path, strategy: str, seed: int) -> Path:
    """Return the folder of a strategy's first run with a seed."""
    plan = json.loads((board / "board.json").read_text())
    job = next(j for j in plan["jobs"] if j["strategy"] == strategy and j["seed"] == seed)
    return board.parents[1] / "runs" / str(job["path"])


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
