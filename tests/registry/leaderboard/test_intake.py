"""Boards of several people in one, and whether a board is what it says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.registry.conftest import MakeRun
from tests.registry.leaderboard.conftest import CHOSEN, QUIET, final, write_board

from solo_registry.errors import UserError
from solo_registry.leaderboard.archive import pack
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.intake import merge
from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.tables import board_table
from solo_registry.leaderboard.verify import check_board, faults

pytestmark = pytest.mark.slow

Edit = Callable[[Any], None]


@pytest.fixture
def stranger(board: Path, make_run: MakeRun, tmp_path: Path) -> Path:
    """Return the archive of another's board: the same reference and a row of its own."""
    runs = [
        (
            name,
            "final",
            CHOSEN,
            final(make_run, "fixed" if name == "fixed" else "twin", seed, score),
        )
        for name, scores in (("fixed", (90.0, 91.0, 92.0)), ("theirs", (93.0, 94.0, 95.0)))
        for seed, score in enumerate(scores, start=1)
    ]
    shutil.move(board, tmp_path / "boards" / "ours")
    other = write_board(tmp_path, [1, 2, 3], runs)
    packed = pack(other, tmp_path / "theirs.tar.xz")
    shutil.move(tmp_path / "boards" / "ours", board.with_name("ours"))
    return packed


def test_rows_of_an_archive_stand_in_one_table_with_ours(stranger: Path, tmp_path: Path) -> None:
    out, ours = tmp_path / "merged", tmp_path / "boards" / "ours"
    lines = merge([ours, stranger], out)
    assert (
        "3 runs of the reference are in both, their knn_acc1 differs by at most 0.000" in lines[0]
    )
    assert lines[1] == f"{stranger}: adds theirs"
    table = board_table(Board.read(out))
    means = {row.name: row.summary("knn_acc1").mean for row in table.rows}
    assert means["theirs"] == pytest.approx(94.0) and set(means) >= {"fixed", "cosine", "theirs"}
    assert not table.lacking
    assert write_report(pack(out), QUIET) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda plan: plan["suite"].update(metric="linear_acc1"),
            "its suite.metric is linear_acc1",
        ),
        (lambda plan: plan["suite"]["tuning"].update(seeds=[5]), "its suite.tuning is"),
        (lambda plan: plan.update(seeds=[1, 2]), r"its seeds is \[1, 2\], not \[1, 2, 3\]"),
        (
            lambda plan: plan["suite"]["strategies"]["fixed"].update(words=["a=1"]),
            "'fixed' is anot",
        ),
        (lambda plan: plan.update(jobs=[]), "shares no run of the reference 'fixed'"),
        (
            lambda plan: plan["jobs"][0].update(path="other/0123456789/1"),
            "other settings or images",
        ),
    ],
)
def test_a_board_that_was_made_otherwise_is_refused(
    stranger: Path, tmp_path: Path, change: Edit, message: str
) -> None:
    file = tmp_path / "boards" / "three" / "board.json"  # from which the archive was packed
    plan = json.loads(file.read_text())
    change(plan)
    file.write_text(json.dumps(plan))
    with pytest.raises(UserError, match=message):
        merge([tmp_path / "boards" / "ours", file.parent], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_row_of_fewer_temperatures_is_refused(stranger: Path, tmp_path: Path) -> None:
    for name, row, low in (("ours", "fixed", 0.03), ("three", "theirs", 0.1)):
        file = tmp_path / "boards" / name / "selected.json"
        chosen = json.loads(file.read_text())
        tried = {"point": CHOSEN, "mean": 80.0, "values": {}, "errors": {},
                 "temperatures": [low, 0.5]}  # fmt: skip
        chosen[row]["points"] = [tried]
        file.write_text(json.dumps(chosen))
    with pytest.raises(UserError, match=r"'theirs' tried .* from 0.1 to 0.5, .* lacks lower ones"):
        merge([tmp_path / "boards" / n for n in ("ours", "three")], tmp_path / "merged")


def test_faults_of_files_and_of_the_selection_are_named(board: Path) -> None:
    read = Board.read(board)
    assert faults(read, read.records()) == []
    tuned = [job for job in read.plan.jobs if job.phase == "tuning"]
    points = [
        {"point": list(job.point), "mean": value, "values": {"1001": value}, "errors": {}}
        for job in tuned
        if (value := read.records()[job].value("knn_acc1")) is not None
    ]
    points[-1] |= {"mean": 99.0, "values": {"1001": 99.0}}
    file = board / "selected.json"
    chosen = json.loads(file.read_text())
    chosen["cosine"]["points"] = points
    file.write_text(json.dumps(chosen))
    result = board.parents[1] / "runs" / read.plan.jobs[0].path / "result.json"
    result.write_text(result.read_text()[:50])
    read = Board.read(board)
    found = "\n".join(faults(read, read.records()))
    assert "cosine: the selected point is not the one with the highest mean" in found
    assert "selected.json has 99.0, its run 80." in found
    assert "result.json" in found and "final, fixed" in found


@pytest.mark.nightly
def test_a_published_board_of_an_older_version_is_without_fault() -> None:
    archive = Path(__file__).parents[3] / "docs" / "results" / "baselines-digits.tar.xz"
    assert check_board(archive, QUIET, runs=0) == []
