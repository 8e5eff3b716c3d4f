"""Runs of a board made again: which, and when a difference is more than chance."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.registry.leaderboard.conftest import SCORES

from solo_registry.errors import UserError
from solo_registry.jobs.job import Job
from solo_registry.leaderboard import again
from solo_registry.leaderboard.again import Scatter, chosen, compare_again, scatter
from solo_registry.leaderboard.board import Board
from solo_registry.runs.records import Record

Shift = Callable[[int], float]


def test_a_limit_is_passed_by_chance_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "LEVEL", 0.05)
    rng, boards, rows, seeds = np.random.default_rng(0), 20_000, 4, 3
    runs = rng.normal(80, 0.6, (boards, rows, seeds))
    sd = np.sqrt(runs.var(2, ddof=1).mean(1))
    for count, tests in ((1, 1), (6, 1), (4, 4)):
        size = count if tests == 1 else 1
        pairs = rng.normal(0, 0.6, (2, boards, tests, size))  # what is there, what is here
        gaps = np.abs((pairs[1] - pairs[0]).mean(2)).max(1)
        rate = (gaps > sd * Scatter(1.0, rows * (seeds - 1)).limit(size, tests)).mean()
        assert rate == pytest.approx(0.05, abs=0.006) or (tests > 1 and rate < 0.05)


def test_a_board_without_two_seeds_has_a_fixed_limit(small: Path) -> None:
    board = Board.read(small)
    assert scatter(board, board.records()) == Scatter(0.0, 0)
    assert Scatter(0.0, 0).limit(5) == again.WITHIN


@pytest.mark.slow
def test_the_scatter_is_that_of_the_seeds_of_a_setting(board: Path) -> None:
    read = Board.read(board)
    found = scatter(read, read.records())
    variances = [np.var(scores, ddof=1) for scores in SCORES.values()]
    assert found.df == 6 and found.sd == pytest.approx(np.mean(variances) ** 0.5)


@pytest.mark.slow
def test_each_strategy_has_its_turn(board: Path) -> None:
    read = Board.read(board)
    records = read.records()
    for job, record in records.items():
        record.cost["train_seconds"] = 10.0 * job.seed + (job.strategy == "fixed")
    order = [(job.strategy, job.seed) for job in chosen(read, records, None, None, 7)]
    assert order == [(name, seed) for seed, name in itertools.product(
        (1, 2, 3), ("cosine", "twin", "fixed"))][:7]  # fmt: skip
    (only,) = chosen(read, records, "twin", 2, 5)
    assert (only.strategy, only.seed, only.phase) == ("twin", 2, "final")
    with pytest.raises(UserError, match=r"no strategy 'twn'.* 'twin'"):
        chosen(read, records, "twn", None, 1)
    with pytest.raises(UserError, match="no finished final run of twin with seed 9"):
        chosen(read, records, "twin", 9, 1)


def checked(
    path: Path, monkeypatch: pytest.MonkeyPatch, shift: Shift, within: float | None = None
) -> tuple[list[str], str]:
    """Return the faults, and what was told, where the runs give numbers that are shifted."""
    board, told = Board.read(path), Console(file=io.StringIO(), width=300)
    records = board.records()
    counter = itertools.count()

    def made(board: Board, job: Job, overrides: list[str]) -> Record:
        before = records[job].result
        trained = dict(before["results"]["trained"])
        trained["knn_acc1"] += shift(next(counter))
        result = before | {"results": before["results"] | {"trained": trained}}
        return dataclasses.replace(records[job], result=result)

    monkeypatch.setattr(again, "_made", made)
    jobs = chosen(board, records, None, None, 9)
    faults = compare_again(board, records, jobs, within, [], told)
    assert isinstance(told.file, io.StringIO)
    return faults, told.file.getvalue()


@pytest.mark.slow
def test_what_cannot_be_chance_is_a_fault(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, told = checked(board, monkeypatch, lambda n: 0.0)
    assert faults == [] and told.count("equal to the last digit") == 9
    assert "9 runs again: here +0 ± 0 in the mean" in told
    # by chance to both sides: two seeds of this board differ as much
    faults, told = checked(board, monkeypatch, lambda n: 1.5 * (-1) ** n)
    assert faults == [] and "up to 1.5; two seeds differ by 1.4" in told
    # one run that no seed explains, and all runs a little too good
    faults, _ = checked(board, monkeypatch, lambda n: 30.0 * (n == 4))
    assert any("more than" in line and "apart" in line for line in faults)
    faults, _ = checked(board, monkeypatch, lambda n: -4.5)
    (fault,) = faults
    assert "here -4.5 ± 0 in the mean, up to 4.5: the mean is more than 2.82 from 0" in fault
    faults, _ = checked(board, monkeypatch, lambda n: 0.5, within=0.4)
    assert len(faults) == 10
