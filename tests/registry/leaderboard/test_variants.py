"""Variants of several hosts, each against its own host."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from tests.registry.conftest import MakeRun
from tests.registry.leaderboard.conftest import CHOSEN, QUIET, change, first_run, write_board

from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.tables import read_board
from solo_registry.leaderboard.variants import find_variants

pytestmark = pytest.mark.slow  # draws

SCORES = {
    "fixed": (88.0, 88.5, 89.0),
    "simclr": (90.0, 91.0, 92.0),
    "simclr_mine": (90.5, 91.2, 92.9),
    "mocov3": (80.0, 81.0, 83.0),
    "mocov3_mine": (79.0, 81.5, 82.0),
    "nnclr": (85.0, 85.5, 84.0),
    "nnclr_mine": (86.0, 86.1, 85.5),
    "nnclr_other": (86.0, 86.2, 85.6),
}
HOSTS = ("simclr", "mocov3", "nnclr")


@pytest.fixture
def hosts(make_run: MakeRun, tmp_path: Path) -> Path:
    """Return a board of three hosts with a variant each, and one host with another one."""
    runs = [
        (name, "final", CHOSEN,
         make_run("simclr", seed, score, f"method_kwargs.temperature={0.1 + i / 10}"))
        for i, (name, scores) in enumerate(SCORES.items())
        for seed, score in enumerate(scores, start=1)
    ]  # fmt: skip
    return write_board(tmp_path, [1, 2, 3], runs)


def gaps(host: str) -> np.ndarray:
    return np.subtract(SCORES[f"{host}_mine"], SCORES[host])


def test_each_variant_is_paired_with_its_own_host(hosts: Path) -> None:
    with read_board(hosts) as (_, table):
        (found,) = find_variants(table)  # nnclr_other is alone
    assert found.suffix == "mine" and set(found.pairs) == set(HOSTS)
    for host, test in found.pairs.items():
        theirs = stats.ttest_1samp(gaps(host), 0).confidence_interval()
        assert test.difference is not None and test.half is not None
        between = test.difference - test.half, test.difference + test.half
        assert between == pytest.approx(tuple(theirs))


def test_a_host_counts_once_in_the_mean_whatever_its_seeds(hosts: Path) -> None:
    (first_run(hosts, "nnclr_mine", 3) / "result.json").unlink()
    means = [gaps("simclr").mean(), gaps("mocov3").mean(), gaps("nnclr")[:2].mean()]
    theirs = stats.ttest_1samp(means, 0)
    with read_board(hosts) as (_, table):
        mean = find_variants(table)[0].over_hosts
    assert mean.n == 3 and mean.p == pytest.approx(theirs.pvalue)
    assert mean.difference == pytest.approx(np.mean(means))
    assert mean.half == pytest.approx(np.diff(theirs.confidence_interval())[0] / 2)


def test_a_pair_of_unlike_protocols_is_left_out(hosts: Path) -> None:
    for seed in (1, 2, 3):
        odd = {"knn_acc1": "weighted kNN, k=1"}
        change(first_run(hosts, "mocov3_mine", seed) / "result.json", protocols=odd)
    with read_board(hosts) as (_, table):
        assert set(find_variants(table)[0].pairs) == {"simclr", "nnclr"}


def test_the_report_has_them_in_words_as_a_table_and_as_a_picture(hosts: Path) -> None:
    write_report(hosts, QUIET)
    mean = np.mean([gaps(host).mean() for host in HOSTS])
    for name in ("report.md", "index.html"):
        text = (hosts / "report" / name).read_text(encoding="utf-8")
        assert f"HOST_mine less HOST, kNN, %: {mean:+.2f} in the mean of 3 hosts" in text
        assert "HOST_other" not in text
    assert f"| mocov3 | {gaps('mocov3').mean():+.2f} | " in (hosts / "report/report.md").read_text()
    assert (hosts / "report" / "hosts_mine.png").stat().st_size > 1000


def test_numbers_have_the_digits_of_their_metric(hosts: Path) -> None:
    for seed in (1, 2, 3):
        path = first_run(hosts, "mocov3_mine", seed) / "result.json"
        result = json.loads(path.read_text())
        host = json.loads((first_run(hosts, "mocov3", seed) / "result.json").read_text())
        uniformity = host["results"]["trained"]["uniformity"] + 0.0625 * seed
        result["results"]["trained"]["uniformity"] = uniformity
        change(path, results=result["results"])
    with read_board(hosts, "uniformity") as (_, table):
        (found,) = find_variants(table)
    assert found.cells(found.pairs["mocov3"]) == ["+0.125", "-0.030 to +0.280", "3"]


def test_a_board_without_such_rows_says_nothing_of_them(board: Path) -> None:
    write_report(board, QUIET)
    assert "HOST" not in (board / "report" / "report.md").read_text(encoding="utf-8")
