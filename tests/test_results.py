"""The published tables are what the published result files give."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from solo_registry.leaderboard.archive import SUFFIX, unpacked
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.report import frame
from solo_registry.leaderboard.rows import board_table
from solo_registry.plugins import load_plugins

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ARCHIVES = sorted(RESULTS.glob(f"*{SUFFIX}"))


def test_there_are_results_and_they_are_small() -> None:
    assert len(ARCHIVES) > 4
    assert sum(path.stat().st_size for path in RESULTS.iterdir()) < 5e6


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_the_table_follows_from_the_result_files(archive: Path) -> None:
    load_plugins()
    with unpacked(archive) as board:
        table = board_table(Board.read(board))
    assert not table.lacking and not table.problems
    seeds = {len(row.runs) for row in table.rows}
    assert seeds == ({3} if archive.name.startswith("baselines") else {5})
    shown = pd.read_csv(RESULTS / f"{archive.name.removesuffix(SUFFIX)}.csv")
    made = pd.read_csv(io.StringIO(frame(table).to_csv(index=False)))
    pd.testing.assert_frame_equal(made, shown, check_dtype=False, rtol=1e-9)
