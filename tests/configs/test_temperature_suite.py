"""The suite `temperature` in small, on digits."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.run import run_board

SUITE = Path(__file__).parents[2] / "configs" / "plugin" / "suite" / "temperature.yaml"
WORDS = [
    "suite=small.yaml", "data=digits", "seeds=1", "max_epochs=1", "scheduler.warmup_epochs=0",
    "backbone.kwargs.channels=[4,4,8,8]", "optimizer.batch_size=512", "evaluation.linear=false",
    "evaluation.baselines=false", "telemetry.every_n_epochs=0",
]  # fmt: skip


@pytest.mark.nightly  # two minutes
@pytest.mark.distributed
def test_every_strategy_trains_and_the_board_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each strategy takes the first point of its grid, and nothing is tuned."""
    monkeypatch.chdir(tmp_path)
    suite = yaml.safe_load(SUITE.read_text(encoding="utf-8"))
    suite |= {"tuning": {"points": 1}, "same_range": False}
    for strategy in suite["strategies"].values():
        strategy["grid"] = {knob: values[:1] for knob, values in strategy["grid"].items()}
        del strategy["bounds"]
    Path("small.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    board = run_board(WORDS, Console(quiet=True))
    assert write_report(board.path, Console(quiet=True)) == []
    rows = pd.read_csv(board.path / "report" / "results.csv")
    assert sorted(rows.strategy) == sorted(suite["strategies"])
    assert (rows.n == 1).all() and not rows.problems.any()
    logs = [log.read_text(encoding="utf-8").lower() for log in Path("runs").rglob("log.txt")]
    assert len(logs) == len(rows) and not [log for log in logs if "warning" in log]
