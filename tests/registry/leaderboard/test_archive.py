from __future__ import annotations

import gzip
import io
import json
import lzma
import random
import re
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.registry.leaderboard.conftest import QUIET, files, first_run
from tests.registry.leaderboard.test_damaged import cut, flip, zero

from solo_registry.errors import UserError
from solo_registry.leaderboard import archive
from solo_registry.leaderboard.archive import pack, unpacked
from solo_registry.leaderboard.report import write_report
from solo_registry.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow


def test_the_archive_of_a_board_gives_the_same_report_anywhere(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_report(board, QUIET) == []
    packed = pack(board)
    assert packed == board.with_name("three.tar.xz")
    again = pack(board, tmp_path / "other" / "three.tar.xz")
    assert packed.read_bytes() == again.read_bytes()
    expected = files(board / "report")
    for folder in (board, tmp_path / "runs"):
        folder.rename(folder.with_name("gone-" + folder.name))
    monkeypatch.chdir(tmp_path / "other")
    assert write_report(Path("three.tar.xz"), QUIET) == []
    assert files(tmp_path / "other" / "three") == expected


def test_only_numbers_leave_the_machine(board: Path, tmp_path: Path) -> None:
    run = RunFolder(first_run(board, "cosine", 1))
    run.checkpoint.parent.mkdir(parents=True)
    run.checkpoint.write_bytes(b"weights")
    (run.path / "environment.json").write_text('{"host": "mine", "argv": ["/home"], "threads": 1}')
    failed = first_run(board, "cosine", 2)
    (failed / "error.json").write_text('{"error": "no memory", "traceback": "/home/mine"}')
    with tarfile.open(pack(board)) as archive:
        names = archive.getnames()
        texts = [file.read().decode() for name in names if (file := archive.extractfile(name))]
    assert not [name for name in names if "checkpoint" in name or name.startswith("/")]
    assert not [text for text in texts if str(tmp_path) in text or "mine" in text]
    assert any('"threads": 1' in text for text in texts)
    assert any("no memory" in text for text in texts)


def test_what_is_left_out_is_named_without_the_temporary_folder(
    board: Path, tmp_path: Path
) -> None:
    result = first_run(board, "cosine", 1) / "result.json"
    result.write_bytes(result.read_bytes()[:100])
    assert write_report(pack(board), QUIET) == ["row 'cosine' lacks seed 1"]
    text = (board.with_name("three") / "report.md").read_text()
    assert "cosine, seed 1: runs/simclr-digits/" in text and "/tmp" not in text


def test_bad_archives_and_names_are_refused(board: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name ends in \.tar\.xz, got .*three\.zip"):
        pack(board, tmp_path / "three.zip")
    with pytest.raises(UserError, match="no board at"):
        pack(tmp_path / "nothing")
    with tarfile.open(tmp_path / "empty.tar.xz", "w:xz"):
        pass
    with pytest.raises(UserError, match="holds 0 boards"):
        write_report(tmp_path / "empty.tar.xz", QUIET)


def refused(path: Path, message: str = "is no archive of a board, or damaged") -> None:
    with pytest.raises(UserError, match=message), unpacked(path):
        pass


def test_every_damage_of_an_archive_is_noticed(small: Path) -> None:
    packed = pack(small)
    good, draw = packed.read_bytes(), random.Random(0)
    for number in range(300):
        damages = (flip, cut, zero) if number % 10 == 0 else (flip,)
        for damage in damages:
            packed.write_bytes(bad := damage(good, draw))
            if bad != good:  # zeros may be there already
                refused(packed)
    for other in (b"", b"PK\x03\x04" + good, gzip.compress(good), good + b"x", good + good):
        packed.write_bytes(other)
        refused(packed)
    packed.unlink()
    packed.mkdir()
    with pytest.raises(UserError):
        write_report(packed, QUIET)


@pytest.fixture
def unwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def crafted(path: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[Any, bytes]]) -> Path:
    """An archive like another, with each entry and its content changed."""
    with tarfile.open(path) as old, tarfile.open(path.with_name("new.tar.xz"), "w:xz") as new:
        for entry in old:
            found = old.extractfile(entry)
            assert found is not None
            entry, content = change(entry, found.read())
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))
    return path.with_name("new.tar.xz")


@pytest.mark.parametrize("place", ["/elsewhere", "../../runs", "~/runs", ".", "runs/..", ""])
def test_an_archive_reads_no_runs_of_this_machine(small: Path, place: str) -> None:
    def plan(entry: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if entry.name.endswith("board.json"):
            content = json.dumps({**json.loads(content), "runs_dir": place}).encode()
        return entry, content

    refused(crafted(pack(small), plan), f"has its runs elsewhere, at '{re.escape(place)}'")


@pytest.mark.parametrize(
    "keys",
    [{"name": "three/../../escaped"}, {"name": "/escaped"}, {"name": "three/board.json"},
     {"name": "three/runs/a/b/1/log.txt"}, {"type": tarfile.SYMTYPE, "linkname": "/etc"},
     {"type": tarfile.FIFOTYPE}, {"type": tarfile.LNKTYPE, "linkname": "three/board.json"}],
)  # fmt: skip
def test_only_files_of_a_board_come_out_of_an_archive(
    small: Path, unwritten: Path, keys: dict[str, Any]
) -> None:
    def last(entry: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if entry.name.endswith("result.json"):
            return entry.replace(deep=False, **keys) if "name" in keys else odd(entry), content
        return entry, content

    def odd(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.type, entry.linkname = keys["type"], keys.get("linkname", "")
        return entry

    refused(crafted(pack(small), last))
    assert not list(unwritten.iterdir())


def test_a_small_archive_cannot_fill_the_disk(
    small: Path, unwritten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(small)
    monkeypatch.setattr(archive, "LARGEST", 2**20)
    bomb = packed.with_name("bomb.tar.xz")
    bomb.write_bytes(lzma.compress(bytes(2**23)))
    refused(bomb, "is too large: more than 1048576 bytes")
    metrics = first_run(small, "cosine", 1) / "metrics.csv"
    metrics.write_text("x" * 2**20)
    with pytest.raises(UserError, match=r"is too large to pack: \d+ files and \d+ bytes"):
        pack(small, packed.with_name("other.tar.xz"))
    monkeypatch.setattr(archive, "MOST", 3)
    refused(packed, "one of too many")
    monkeypatch.setattr(archive, "MEMORY", 2**16)
    refused(packed, "Memory usage limit")
    assert not list(unwritten.iterdir())


def test_a_damaged_file_is_packed_as_damaged_and_without_its_text(small: Path) -> None:
    run = first_run(small, "cosine", 1)
    (run / "environment.json").write_text('{"host": "mine"')
    with unpacked(pack(small)) as board:
        (record,) = (record for record in board.records().values() if record.problem)
        assert "environment.json is not a run's environment.json" in record.problem
        assert (record.path / "environment.json").read_text() == "damaged"
