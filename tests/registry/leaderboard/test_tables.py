"""Rows and verdicts of a board's table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats
from tests.registry.conftest import MakeRun
from tests.registry.leaderboard.conftest import QUIET, SCORES, change, first_run, table

from solo_registry.leaderboard.report import write_report

pytestmark = pytest.mark.slow  # draws


def test_rows_with_equal_taus_do_not_hide_in_one(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("simclr", 1, 90.0)
    make_run("simclr", 1, 95.0, "method_kwargs.temperature=0.7")
    write_report(tmp_path / "runs", QUIET)
    assert len(pd.read_csv(tmp_path / "runs" / "report" / "results.csv")) == 2


def test_seeds_that_were_measured_in_another_way_are_left_out_and_named(board: Path) -> None:
    odd = {"knn_acc1": "weighted kNN, k=1"}
    change(first_run(board, "cosine", 2) / "result.json", protocols=odd)
    assert write_report(board, QUIET) == ["row 'cosine' lacks seed 2"]
    row = table(board).loc["cosine"]
    assert row.n == 2 and row.knn_acc1_mean == pytest.approx((92.0 + 94.1) / 2)
    assert "knn_acc1: 'weighted kNN, k=1' and not 'protocol of knn_acc1'" in row.problems
    change(first_run(board, "twin", 1) / "result.json", train_images=100)
    change(first_run(board, "twin", 2) / "result.json", train_images=200)
    change(first_run(board, "twin", 3) / "result.json", train_images=300)
    assert sum("'twin' lacks seed" in line for line in write_report(board, QUIET)) == 3


def test_a_row_that_was_measured_in_another_way_is_not_tested(board: Path) -> None:
    for seed in (1, 2, 3):
        path = first_run(board, "twin", seed) / "result.json"
        change(path, protocols={"knn_acc1": "weighted kNN, k=1"})
    assert write_report(board, QUIET) == ["row 'twin' lacks the reference's protocol"]
    rows = table(board)
    assert rows.verdict["twin"] == "no test" and rows.verdict["cosine"] == "win"
    assert "measured by 'weighted kNN, k=1 of the test split' and not by" in rows.problems["twin"]


def test_the_verdict_says_what_all_of_the_interval_says(board: Path) -> None:
    write_report(board, QUIET)
    rows = table(board)
    cosine, twin = rows.loc["cosine"], rows.loc["twin"]
    assert 0 < cosine.difference_low < cosine.difference < cosine.difference_high
    assert -0.5 < twin.difference_low < 0 < twin.difference_high < 0.5
    report = (board / "report" / "report.md").read_text()
    assert "Smallest detectable difference: " in report and "2 contrasts" in report
    assert "Differences are between the settings in the table." in report


def test_rows_outside_the_declared_question_get_no_verdict(board: Path) -> None:
    suite = json.loads((board / "board.json").read_text())["suite"]
    change(board / "board.json", suite=suite | {"question": {"contrasts": ["twin"]}})
    write_report(board, QUIET)
    rows = table(board)
    assert dict(rows.verdict) == {
        "cosine": "exploratory",
        "fixed": "reference",
        "twin": "equivalent",
    }
    assert rows.p_holm["twin"] == rows.p["twin"] and pd.isna(rows.p_holm["cosine"])
    for other in ({"metric": "linear_acc1"}, {"against": "twin"}):
        write_report(board, QUIET, **other)  # type: ignore[arg-type]
        assert set(table(board).verdict) == {"exploratory", "reference"}
        assert "The suite asked about knn_acc1" in (board / "report" / "report.md").read_text()


def test_one_run_under_several_names_is_one_row_and_counts_once(
    board: Path, make_run: MakeRun
) -> None:
    """A name more, or ten, changes no verdict on the others."""
    write_report(board, QUIET)
    before = table(board)
    plan = json.loads((board / "board.json").read_text())
    for copy, of in (("line", "cosine"), ("same", "fixed")):
        plan["suite"]["strategies"][copy] = plan["suite"]["strategies"][of]
        plan["jobs"] += [job | {"strategy": copy} for job in plan["jobs"]
                         if job["strategy"] == of and job["phase"] == "final"]  # fmt: skip
    change(board / "board.json", **plan)
    chosen = json.loads((board / "selected.json").read_text())
    change(board / "selected.json", line=chosen["cosine"], same=chosen["fixed"])
    write_report(board, QUIET)
    after = table(board)
    assert after.same["cosine"] == "line" and after.same["fixed"] == "same"
    columns = ["verdict", "p_holm", "difference_low", "difference_high"]
    pd.testing.assert_frame_equal(before[columns], after[columns])
    report = (board / "report" / "report.md").read_text()
    assert "One run under several names, counted once: cosine = line." in report


def test_several_tunings_are_the_pairs_of_the_test(board: Path, make_run: MakeRun) -> None:
    """Two tunings: seeds 1 and 3 share a point, seed 2 has another; two pairs, not three."""
    write_report(board, QUIET)
    suite = json.loads((board / "board.json").read_text())["suite"]
    suite["tuning"] |= {"seeds": [1001, 1002], "replicates": 2}
    change(board / "board.json", suite=suite)
    write_report(board, QUIET)
    rows = table(board)
    gaps = [c - f for c, f in zip(SCORES["cosine"], SCORES["fixed"], strict=True)]
    pairs = [(gaps[0] + gaps[2]) / 2, gaps[1]]
    assert rows.pairs["cosine"] == 2 and rows.n["cosine"] == 3
    assert rows.p["cosine"] == pytest.approx(stats.ttest_1samp(pairs, 0).pvalue)
    assert "Differences are between strategies" in (board / "report" / "report.md").read_text()
