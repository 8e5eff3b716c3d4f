"""What is at a path: pathlib's answers, and an error where the system cannot tell."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from solo_registry.paths import exists, is_dir, is_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold one of each kind of thing."""
    (tmp_path / "file").write_text("a")
    (tmp_path / "dir").mkdir()
    for link, target in (("to_file", "file"), ("to_dir", "dir"), ("to_nothing", "gone"),
                         ("to_itself", "to_itself")):  # fmt: skip
        (tmp_path / link).symlink_to(target)
    return tmp_path


NAMES = ("file", "dir", "to_file", "to_dir", "to_nothing", "to_itself", "gone", "gone/deeper",
         "file/below", "null\0character", ".", "/dev/null")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_where_the_system_can_tell_the_answers_are_pathlibs(folder: Path, name: str) -> None:
    path = folder / name
    assert [exists(path), is_file(path), is_dir(path)] == [
        path.exists(), path.is_file(), path.is_dir()
    ]  # fmt: skip


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG])
def test_where_it_cannot_tell_the_error_passes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(path: object, **kwargs: object) -> os.stat_result:
        raise OSError(code, os.strerror(code), str(path))

    for ask in (exists, is_file, is_dir):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="file") as raised:
            patch.setattr(os, "stat", fail)
            ask(folder / "file")
        assert raised.value.errno == code


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no such permissions")
def test_a_folder_that_one_may_not_look_into_is_no_empty_one(folder: Path) -> None:
    (folder / "dir" / "inside").write_text("a")
    before = os.geteuid()
    (folder / "dir").chmod(0)
    try:
        if before == 0:  # to root permissions mean nothing
            os.seteuid(65534)
        with pytest.raises(PermissionError):
            exists(folder / "dir" / "inside")
    finally:
        os.seteuid(before)
        (folder / "dir").chmod(0o700)
