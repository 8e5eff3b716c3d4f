from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from tests.registry.leaderboard.test_report import QUIET, files, first_run

from solo_registry.errors import UserError
from solo_registry.leaderboard.archive import pack
from solo_registry.leaderboard.report import write_report
from solo_registry.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow  # draws


def test_the_archive_of_a_board_gives_the_same_report_anywhere(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_report(board, QUIET) == []
    archive = pack(board)
    assert archive == board.with_name("three.tar.xz")
    again = pack(board, tmp_path / "other" / "three.tar.xz")
    assert archive.read_bytes() == again.read_bytes()
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
    archive = pack(board)
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(UserError, match="no archive of a board, or damaged"):
        write_report(archive, QUIET)
    with tarfile.open(tmp_path / "empty.tar.xz", "w:xz"):
        pass
    with pytest.raises(UserError, match="holds 0 boards"):
        write_report(tmp_path / "empty.tar.xz", QUIET)
