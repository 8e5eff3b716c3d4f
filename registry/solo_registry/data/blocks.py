"""A folder of Arrow files that all processes of a machine share, with a limit to its size."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
from filelock import FileLock

STALE = 3600 * 10**9  # nanoseconds after which nobody writes a file any more
TRIES = 100  # more processes than this never drop a file between its writing and its opening


class BlockCache:
    """Keeps tables that are slow to fetch; the one that was used longest ago goes first.

    Tables are mapped into memory, so that processes share them. A file that goes while another
    process reads it stays readable there.

    Args:
        folder: where the files lie.
        most: bytes that they may take; the last one that was written may go beyond.
    """

    def __init__(self, folder: Path, most: float) -> None:
        self.folder, self.most = folder, most

    def get(self, key: str, fetch: Callable[[], pa.Table]) -> pa.Table:
        """Return the table of a key, which `fetch` makes where it is missing, once at a time.

        Args:
            key: hex digits that name the content.
            fetch: its errors pass.
        """
        path = self.folder / f"{key}.arrow"
        for _ in range(TRIES):
            try:
                os.utime(path)  # it was used now
                with pa.memory_map(str(path)) as file:  # the table stays mapped when it is closed
                    return pa.ipc.open_file(file).read_all()
            except FileNotFoundError:
                pass
            except pa.ArrowInvalid:  # the disk lost a part of it
                path.unlink(missing_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{key[:2]}.lock"):
                if not os.path.lexists(path):
                    self._write(path, fetch())
        raise OSError(f"{path} vanishes each time: another program empties this folder")

    def _write(self, path: Path, table: pa.Table) -> None:
        part = self.folder / f".{path.name}.{uuid4().hex}"
        try:
            with part.open("wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            os.replace(part, path)  # after it is closed: Windows moves no file that is open
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._make_room(path)

    def _make_room(self, newest: Path) -> None:
        known, now = [], time.time_ns()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".arrow") or entry.name.startswith("."):
                    try:
                        known.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
                    except FileNotFoundError:  # another process made room
                        continue
        room = self.most - sum(size for _, size, _ in known)
        for used, size, path in sorted(known):
            if room >= 0:
                return
            whole = path.endswith(".arrow")  # else it is being written, or a kill has left it
            if path != str(newest) and (whole or now - used > STALE):
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except PermissionError:  # Windows keeps a file that a process has open
                    continue
                room += size
