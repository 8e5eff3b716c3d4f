"""`kill -9` at every write of a board, its report and its archive; then it ends the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from tests.registry.kills import EVERY, attack
from tests.registry.leaderboard.conftest import QUIET
from tests.registry.leaderboard.test_run import ONE_RUN

from solo_registry.leaderboard.archive import pack, unpacked
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.report import write_report
from solo_registry.leaderboard.run import run_board
from solo_registry.runs.run_folder import remove_parts

pytestmark = [pytest.mark.slow, pytest.mark.distributed]


def renewed(folder: Path) -> Callable[[], None]:
    """Return a function that makes a folder again as it is now."""
    before = folder.with_name("before")
    shutil.copytree(folder, before)

    def fresh() -> None:
        shutil.rmtree(folder)
        shutil.copytree(before, folder)

    return fresh


def packing(board: Path, out: Path) -> None:
    pack(board, out)


def reporting(board: Path) -> None:
    """What a command writes whose runs are finished."""
    remove_parts(board)  # as the command does
    read = Board.read(board)
    read.selected["fixed"].why = "another reason"
    read.write()
    write_report(board, QUIET)


def running(folder: Path) -> None:
    os.chdir(folder)
    write_report(run_board(ONE_RUN, QUIET).path, QUIET)


@pytest.mark.parametrize(
    "numbers",
    [pytest.param((2, 5), id="two"), pytest.param(EVERY, marks=pytest.mark.nightly, id="every")],
)
def test_pack(small: Path, tmp_path: Path, numbers: Iterable[int]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    attack(out, renewed(out), packing, small, out / "three.tar.xz", numbers=numbers, once=True)
    with unpacked(out / "three.tar.xz") as board:
        assert not [record.problem for record in board.records().values() if record.problem]


@pytest.mark.nightly
def test_report(small: Path) -> None:
    attack(small, renewed(small), reporting, small, once=True)


@pytest.mark.nightly
def test_run_and_report(tmp_path: Path) -> None:
    """The first, unbroken one trains; `runs/test_kills.py` has the writes of a run."""
    root = tmp_path / "boards"
    fresh = partial(shutil.rmtree, root, ignore_errors=True)
    attack(root, fresh, running, tmp_path)
