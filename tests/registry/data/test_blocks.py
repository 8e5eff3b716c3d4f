"""The cache of fetched blocks: what processes share, and what is left of one that was killed."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")

from solo_registry.data.blocks import STALE, BlockCache  # noqa: E402


def table(value: int) -> pa.Table:
    return pa.table({"x": [value] * 1000})


def key(value: int) -> str:
    return f"{value:02x}" * 8


def read(folder: Path, most: float, seed: int) -> list[int]:
    """Read 60 blocks as a loader's process does; each table is fetched by one process at a time."""
    cache, wrong = BlockCache(folder, most), []
    for step in range(60):
        value = (seed * 7 + step * 5) % 9
        found = cache.get(key(value), lambda value=value: table(value))  # type: ignore[misc]
        wrong += [value] * (not found.equals(table(value)))
    return wrong


def test_processes_that_make_room_for_each_other_read_the_right_tables(tmp_path: Path) -> None:
    BlockCache(tmp_path, 1e9).get(key(0), lambda: table(0))
    most = 2.5 * (tmp_path / f"{key(0)}.arrow").stat().st_size
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(read, tmp_path, most, seed) for seed in range(3)]
        assert [job.result() for job in jobs] == [[], [], []]
    assert sum(file.stat().st_size for file in tmp_path.glob("*.arrow")) <= most


def test_the_one_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1e9)
    for value in range(3):
        cache.get(key(value), lambda: table(0))
        os.utime(tmp_path / f"{key(value)}.arrow", ns=(value, value))
    cache.get(key(0), lambda: table(0))  # used now
    cache.most = 3 * (tmp_path / f"{key(0)}.arrow").stat().st_size
    cache.get(key(3), lambda: table(0))
    assert {file.stem for file in tmp_path.glob("*.arrow")} == {key(0), key(2), key(3)}


def test_a_table_stays_readable_when_its_file_goes(tmp_path: Path) -> None:
    found = BlockCache(tmp_path, 1e9).get(key(1), lambda: table(1))
    (tmp_path / f"{key(1)}.arrow").unlink()
    assert found.equals(table(1))


def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path, 1e9)
    cache.get(key(1), lambda: table(1))
    path = tmp_path / f"{key(1)}.arrow"
    for damage in (b"", path.read_bytes()[:100], b"x" * 5000):
        path.write_bytes(damage)
        assert cache.get(key(1), lambda: table(1)).equals(table(1))


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path: Path) -> None:
    old, new = tmp_path / f".{key(5)}.arrow.abc", tmp_path / f".{key(6)}.arrow.abc"
    for path in (old, new):
        path.write_bytes(b"x" * 10_000)
    long_ago = time.time_ns() - 2 * STALE
    os.utime(old, ns=(long_ago, long_ago))
    BlockCache(tmp_path, 1).get(key(1), lambda: table(1))
    assert not old.exists() and new.exists()


def test_an_error_of_the_fetch_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> pa.Table:
        raise RuntimeError("no net")

    cache = BlockCache(tmp_path, 1e9)
    with pytest.raises(RuntimeError, match="no net"):
        cache.get(key(1), fail)
    assert not list(tmp_path.glob("*arrow*"))
    assert cache.get(key(1), lambda: table(1)).equals(table(1))


def test_a_file_that_cannot_go_is_kept_and_another_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows keeps a file that a process has open."""
    cache = BlockCache(tmp_path, 1e9)
    for value in range(3):
        cache.get(key(value), lambda: table(0))
        os.utime(tmp_path / f"{key(value)}.arrow", ns=(value, value))
    really = os.unlink

    def unlink(path: str, **kwargs: object) -> None:
        if key(0) in str(path):
            raise PermissionError(13, "in use", path)
        really(path)

    monkeypatch.setattr(os, "unlink", unlink)
    cache.most = 3 * (tmp_path / f"{key(0)}.arrow").stat().st_size
    cache.get(key(3), lambda: table(0))
    assert {file.stem for file in tmp_path.glob("*.arrow")} == {key(0), key(2), key(3)}
