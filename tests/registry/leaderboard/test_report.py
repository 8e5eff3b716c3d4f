from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.registry.conftest import pasted
from tests.registry.leaderboard.conftest import QUIET, SCORES, change, files, first_run, table

from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.charts import charts
from solo_registry.leaderboard.figures import CURVES
from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.tables import board_table
from solo_registry.runs.read import MARK, SEAL, sealed

pytestmark = pytest.mark.slow  # draws


def test_the_report_is_a_pure_function_of_result_files(board: Path, tmp_path: Path) -> None:
    assert write_report(board, QUIET) == []
    assert write_report(board, QUIET, out=tmp_path / "again") == []
    once = files(board / "report")
    assert once == files(tmp_path / "again")
    assert set(once) == {
        "results.csv", "results.tex", "runs.csv", "report.md", "index.html", "accuracy.png",
        "differences.png", "uniformity_tolerance.png", "trajectories.png", "grid_cosine.png",
    }  # fmt: skip


def test_numbers_verdicts_and_provenance_stand_in_each_row(board: Path) -> None:
    write_report(board, QUIET)
    rows = table(board)
    assert list(rows.index) == ["cosine", "fixed", "twin"]  # best first
    assert rows.knn_acc1_mean["cosine"] == pytest.approx(sum(SCORES["cosine"]) / 3)
    assert dict(rows.verdict) == {"cosine": "win", "fixed": "reference", "twin": "equivalent"}
    assert (rows.p_holm.dropna() >= rows.p.dropna()).all()
    assert list(rows.seeds) == ["1 2 3"] * 3 and rows.config_hash.nunique() == 3
    assert rows.protocol.str.contains("protocol of knn_acc1 of the test split").all()
    assert rows.train_seconds["fixed"] == 4.0 and rows.peak_host_bytes["fixed"] == 2**30
    assert rows.command["cosine"].endswith("seed=1,2,3") and "--multirun" in rows.command["cosine"]
    assert "knn" in (board / "report" / "report.md").read_text()


def damage(run: Path, kind: str) -> None:
    result = run / "result.json"
    if kind == "cut":
        result.write_bytes(result.read_bytes()[: result.stat().st_size // 2])
    elif kind == "older":
        change(result, schema_version=1)
    elif kind == "foreign":
        change(result, seed=77)
    elif kind == "other config":
        text = (run / "resolved.yaml").read_text().removeprefix(MARK).partition(SEAL)[0]
        other = text.replace("max_epochs: 2", "max_epochs: 3")
        (run / "resolved.yaml").write_text(sealed(other))
    elif kind == "failed":
        result.unlink()
        (run / "error.json").write_text(json.dumps({"error": "ValueError: <script>boom"}))
    else:
        result.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "is not a run's result"),
        ("older", "has schema version 1, this version reads"),
        ("foreign", "belongs to another run: it says"),
        ("other config", "resolved.yaml belongs to another run"),
        ("failed", "ValueError: <script>boom"),
        ("unfinished", "not finished, 2 epochs done"),
    ],
)
def test_what_cannot_be_trusted_is_named_and_left_out(board: Path, kind: str, message: str) -> None:
    damage(first_run(board, "cosine", 2), kind)
    assert write_report(board, QUIET) == ["row 'cosine' lacks seed 2"]
    row = table(board).loc["cosine"]
    assert row.n == 2 and row.knn_acc1_mean == pytest.approx((92.0 + 94.1) / 2)
    assert message in row.problems
    assert (
        message.replace("<script>", "&lt;script&gt;")
        in (board / "report" / "report.md").read_text()
    )


def test_a_strategy_that_failed_altogether_stays_a_row(board: Path) -> None:
    for seed in (1, 2, 3):
        damage(first_run(board, "twin", seed), "failed")
    assert len(write_report(board, QUIET)) == 3
    row = table(board).loc["twin"]
    assert row.verdict == "no result" and row.n == 0 and "boom" in row.problems


def test_a_board_whose_tuning_is_not_done_says_how_far_it_is(board: Path) -> None:
    (board / "selected.json").unlink()
    plan = json.loads((board / "board.json").read_text())
    leading = [job["path"] for job in plan["jobs"] if job["phase"] == "tuning"][2]
    damage(board / plan["runs_dir"] / leading, "unfinished")
    plan["jobs"] = [job for job in plan["jobs"] if job["phase"] == "tuning"]
    (board / "board.json").write_text(json.dumps(plan))
    write_report(board, QUIET)
    row = table(board).loc["cosine"]
    best = "method_kwargs.tau_min=0.2 method_kwargs.tau_max=0.4 is best: knn_acc1 80.20 over 1 seed"
    assert f"3 of 4 tuning runs are finished, so far {best}" in row.problems
    assert row.verdict == "no result"
    report = (board / "report" / "report.md").read_text()
    assert "not finished" not in report  # a line for each of hundreds of runs helps nobody


def test_unequal_results_of_one_config_and_seed_both_go(board: Path, tmp_path: Path) -> None:
    run = first_run(board, "cosine", 2)
    copy = tmp_path / "runs" / "elsewhere" / run.parent.name / run.name
    shutil.copytree(run, copy)
    write_report(tmp_path / "runs", QUIET, out=tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "results.csv").set_index("config_hash")
    assert rows.n[run.parent.name] == 3  # equal copies are one run
    result = json.loads((copy / "result.json").read_text())
    result["results"]["trained"]["knn_acc1"] += 1
    (copy / "result.json").write_text(json.dumps(result))
    lacking = write_report(tmp_path / "runs", QUIET, out=tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "results.csv").set_index("config_hash")
    assert rows.n[run.parent.name] == 2 and "unequal results" in rows.problems[run.parent.name]
    assert any("lacks seed 2" in line for line in lacking)


def test_a_folder_of_runs_has_a_row_per_config_and_no_validation_runs(
    board: Path, tmp_path: Path
) -> None:
    reference = first_run(board, "fixed", 1).parent.name
    assert write_report(tmp_path / "runs", QUIET, against=reference) == []
    rows = pd.read_csv(tmp_path / "runs" / "report" / "results.csv")
    assert len(rows) == 3 and set(rows.verdict) == {"win", "reference", "equivalent"}
    assert (tmp_path / "runs" / "report" / "report.md").read_text().count("validation split") == 1


def test_check_fails_without_a_protocol(board: Path) -> None:
    change(first_run(board, "twin", 1) / "result.json", protocols={})
    assert write_report(board, QUIET) == ["row 'twin' lacks the protocol of knn_acc1 (seed 1)"]


@pytest.mark.parametrize(
    ("change_path", "kwargs", "message"),
    [
        ("nowhere", {}, "no folder"),
        ("", {"against": "fixd"}, "no row 'fixd' to compare with. Did you mean 'fixed'"),
        ("", {"metric": "knn_acc"}, "metric is 'knn_acc'. Did you mean 'knn_acc1'"),
    ],
)
def test_bad_requests_are_told(
    board: Path, change_path: str, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_report(board / change_path, QUIET, **kwargs)
    assert not (board / "report").exists()


def test_a_damaged_board_or_an_empty_folder_is_named(board: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run folder"):
        write_report(tmp_path / "empty", QUIET)
    change(board / "board.json", schema_version=99)
    with pytest.raises(UserError, match="schema version 99"):
        write_report(board, QUIET)
    (board / "board.json").write_text("{")
    with pytest.raises(UserError, match="is not a board's plan: invalid JSON"):
        write_report(board, QUIET)


def test_the_commands_can_be_pasted(board: Path, tmp_path: Path) -> None:
    """A shell passes each word on as it is, and runs nothing inside of it."""
    words = [
        "a=$(touch hacked)",
        "b=`touch hacked`",
        'c=it\'s "so"',
        "d=x y; touch hacked",
        "e=$HOME",
    ]
    plan = json.loads((board / "board.json").read_text())
    jobs = [{**job, "words": [*words, "seed=1"]} for job in plan["jobs"]]
    change(board / "board.json", jobs=jobs)
    write_report(board, QUIET)
    command = table(board).command["cosine"]
    assert f"\n{command}\n" in (board / "report" / "report.md").read_text()
    assert pasted(command, tmp_path) == ["pretrain", "--multirun", *words, "seed=1,2,3"]


def test_losses_of_different_temperatures_are_on_no_axis(board: Path) -> None:
    """The runs of the board have train_loss, and train at three temperatures."""
    table = board_table(Board.read(board))
    text = json.dumps(charts(table)) + " ".join(CURVES)
    assert "val_acc1" in text and "loss" not in text
