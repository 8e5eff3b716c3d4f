"""`kill -9` at every write of a board, its report and its archive: each file is whole or absent."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.registry.kills import KILLED, kill_at
from tests.registry.leaderboard.test_report import QUIET

from solo_registry.leaderboard.archive import pack, unpacked
from solo_registry.leaderboard.board import Board
from solo_registry.leaderboard.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.distributed, pytest.mark.xdist_group("kills")]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[3]), *sys.path])


def content(root: Path) -> dict[str, bytes]:
    """The files of a folder; what a killed write leaves begins with a dot."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def attack(root: Path, target: Callable[..., None], *args: Path) -> None:
    """Kill `target` at each write below a folder; it must end the same when it runs again."""
    shutil.copytree(root, root.with_name("before"))
    assert kill_at(0, root, target, *args) == 0
    expected = content(root)
    for number in range(1, 1000):
        shutil.rmtree(root)
        shutil.copytree(root.with_name("before"), root)
        before = content(root)
        code = kill_at(number, root, target, *args)
        found = content(root)
        if code == 0:
            assert found == expected and number > 5
            return
        assert code == KILLED
        for name, whole in found.items():  # as before, or as it is to be
            assert whole in (before.get(name), expected.get(name)), (number, name)
    pytest.fail("no end of writes")


def packing(board: Path, out: Path) -> None:
    pack(board, out)


def reporting(board: Path) -> None:
    """What a command writes whose runs are finished."""
    read = Board.read(board)
    read.selected["fixed"].why = "another reason"
    read.write()
    write_report(board, QUIET)


@pytest.mark.nightly
def test_pack(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    attack(tmp_path / "out", packing, small, tmp_path / "out" / "three.tar.xz")
    with unpacked(tmp_path / "out" / "three.tar.xz") as board:
        assert not [record.problem for record in board.records().values() if record.problem]


@pytest.mark.nightly
def test_board_and_report(small: Path) -> None:
    attack(small, reporting, small)
