from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Choice, Tried
from solo_registry.leaderboard.replicates import shares
from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.run import run_board
from solo_registry.leaderboard.suite import StrategyConfig, SuiteConfig, TuningConfig, check_suite

VALUES = {"a": [1.0, 5.0, 1.0, 5.0], "b": [2.0, 2.0, 2.0, 2.0], "c": [9.0, 9.0, 9.0, 9.0]}


def choice() -> Choice:
    """Return a choice of three points over four seeds; one run of the best is missing."""
    tried = [
        Tried([name], None if name == "c" else sum(values) / 4,
              {str(seed): value for seed, value in enumerate(values)}, {})
        for name, values in VALUES.items()
    ]  # fmt: skip
    return Choice(["a"], "highest", tried)


def test_each_tuning_selects_by_its_own_seeds() -> None:
    assert choice().picks([0, 1, 2, 3], 2) == [["b"], ["a"]]
    assert choice().picks([0, 1, 2, 3], 4) == [["b"], ["a"], ["b"], ["a"]]


def test_one_tuning_is_the_choice() -> None:
    assert choice().picks([0, 1, 2, 3], 1) == [["a"]]
    assert Choice(None, "no run").picks([0, 1], 2) == []
    assert Choice(["a"], "one point").picks([0, 1], 2) == [["a"], ["a"]]


def test_shares_are_disjoint_and_whole() -> None:
    found = shares(list(range(7)), 3)
    assert sorted(seed for share in found for seed in share) == list(range(7))
    assert max(map(len, found)) - min(map(len, found)) == 1


def test_tunings_need_equal_shares() -> None:
    suite = SuiteConfig(reference="a", strategies={"a": StrategyConfig()})
    suite.tuning = TuningConfig(seeds=[1001, 1002, 1003], replicates=2)
    with pytest.raises(UserError, match="replicates=2 does not divide the 3 seeds"):
        check_suite("x", suite)


@pytest.mark.nightly
@pytest.mark.distributed
def test_two_tunings_of_a_real_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "suite=smoke", "strategies=fixed,cosine", "seeds=3", "max_epochs=1",
        "backbone.kwargs.channels=[4,4,8,8]", "optimizer.batch_size=512",
        "telemetry.every_n_epochs=0", "suite.tuning.seeds=[1001,1002]", "suite.tuning.replicates=2",
    ]  # fmt: skip
    board = run_board(words, Console(quiet=True))
    final = {(j.strategy, j.seed): list(j.point) for j in board.plan.jobs if j.phase == "final"}
    for name in ("fixed", "cosine"):
        first, second = board.selected[name].picks([1001, 1002], 2)
        assert [final[name, seed] for seed in (1, 2, 3)] == [first, second, first]
    assert write_report(board.path, Console(quiet=True)) == []
    rows = pd.read_csv(board.path / "report" / "results.csv").set_index("strategy")
    assert rows.n["cosine"] == 3 and rows.pairs["cosine"] == 2
    with pytest.raises(UserError, match="replicates=2 needs as many final seeds, there are 1"):
        run_board([*words, "seeds=1"], Console(quiet=True))
