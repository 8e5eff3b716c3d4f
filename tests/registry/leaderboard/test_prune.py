"""What `dyntemp leaderboard prune` removes, and what it must not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.registry.leaderboard.conftest import QUIET

from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.prune import prune
from solo_registry.leaderboard.tables import board_table
from solo_registry.runs.run_folder import RunFolder

SIZE = 1_500_000_000


@pytest.fixture
def heavy(board: Path) -> Path:
    """Return a board whose runs have checkpoints; of four tuning runs one is not finished."""
    for record in Board.read(board).records().values():
        for name in ("last.ckpt", "epoch-1.ckpt"):
            file = record.path / "checkpoints" / name
            file.parent.mkdir(exist_ok=True)
            file.touch()
            os.truncate(file, SIZE)  # takes no room: nothing is written
    tuning = [job for job in Board.read(board).plan.jobs if job.phase == "tuning"]
    (board.parents[1] / "runs" / tuning[0].path / "result.json").unlink()
    return board


def kept(board: Path) -> dict[str, list[bool]]:
    """Say by phase which runs have their last checkpoint."""
    found: dict[str, list[bool]] = {}
    for job, record in Board.read(board).records().items():
        found.setdefault(job.phase, []).append(RunFolder(record.path).checkpoint.exists())
    return found


def test_only_finished_tuning_runs_lose_their_checkpoint(heavy: Path) -> None:
    text = prune(heavy, QUIET)
    assert text == "freed 4.50 GB: checkpoints of 3 finished tuning runs"
    assert kept(heavy) == {"final": [True] * 9, "tuning": [True, False, False, False]}
    assert all(  # the user asked for these: checkpoint.keep_prev=true
        (record.path / "checkpoints" / "epoch-1.ckpt").exists()
        for record in Board.read(heavy).records().values()
    )
    assert prune(heavy, QUIET).endswith("of 0 finished tuning runs")


def test_no_number_of_the_board_changes(heavy: Path) -> None:
    before = [(row.name, row.values("knn_acc1")) for row in board_table(Board.read(heavy)).rows]
    records = {job: record.status for job, record in Board.read(heavy).records().items()}
    prune(heavy, QUIET)
    after = board_table(Board.read(heavy))
    assert [(row.name, row.values("knn_acc1")) for row in after.rows] == before
    assert {job: record.status for job, record in Board.read(heavy).records().items()} == records


def test_a_damaged_run_keeps_its_checkpoint(heavy: Path) -> None:
    jobs = [job for job in Board.read(heavy).plan.jobs if job.phase == "tuning"]
    result = heavy.parents[1] / "runs" / jobs[1].path / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"seed": 77}))
    prune(heavy, QUIET)
    assert kept(heavy)["tuning"] == [True, True, False, False]


def test_what_is_no_board_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it has no board\.json"):
        prune(tmp_path, QUIET)
