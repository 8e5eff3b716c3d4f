"""Tuning runs as grids, also where one knob is the ratio of two keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from solo_registry.jobs.job import Job
from solo_registry.leaderboard.board import Choice
from solo_registry.leaderboard.grid import Grid, grids
from solo_registry.leaderboard.knobs import Setting, settings, spelled
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.runs.records import Record

RATIO = "k.high/k.low"


def grid_of(wanted: list[Setting], chosen: Setting) -> Grid:
    table = Table("", [], "knn_acc1", None, [Row("a")])
    table.selected = {"a": Choice(list(spelled(chosen)), "")}
    for place, setting in enumerate(wanted):
        job = Job("a", "tuning", spelled(setting), 1, (), f"{place}/1")
        result = {"results": {"trained": {"knn_acc1": float(place)}}}
        table.tuning[job] = Record(Path(job.path), "finished", result)
    (found,) = grids(table)
    return found


def test_a_full_grid_of_two_keys_stays_as_it_is() -> None:
    wanted = settings({"k.low": [0.1, 0.2], "k.high": [0.3, 0.4]})
    found = grid_of(wanted, wanted[1])
    assert found.keys == ("low", "high") and found.columns == [0.3, 0.4]
    assert found.values.tolist() == [[0.0, 1.0], [2.0, 3.0]] and found.selected == (0, 1)


def test_a_ratio_makes_its_own_columns_and_an_extension_leaves_gaps() -> None:
    wanted = settings({"k.low": [0.03, 0.05, 0.11], RATIO: [1.5, 3.0]})
    added = [{"k.low": 0.05, RATIO: 2.12}]
    found = grid_of(wanted + added, added[0])
    assert found.keys == ("low", "high/low") and found.columns == [1.5, 2.12, 3.0]
    assert found.selected == (1, 1) and found.values[1].tolist() == [2.0, 6.0, 3.0]
    assert np.isnan(found.values).sum() == 2
