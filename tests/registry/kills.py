"""Ends a process at its N-th write, as `kill -9` would, whatever command it runs.

    attack(root, fresh, function, argument)     # at every write, with all that must hold then

Counted is every file that Python opens to write, and every rename and removal, below `root`. The
process dies before the N-th of them. A file that is being opened is left with half a line in it,
as a write that was cut off leaves it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image
from tests.forked import SERVER

from solo_registry.catalog.plugins import load_plugins
from solo_registry.runs.read import read_yaml

KILLED = 137
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EVERY = range(1, 1000)
OF_THE_HOUR = {"environment.json", "cost.json"}  # they hold times
READERS: dict[str, Callable[[Any], Any]] = {
    ".json": lambda path: json.loads(path.read_text()),
    ".yaml": read_yaml,
    ".ckpt": lambda path: zipfile.ZipFile(path).testzip(),
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".png": lambda path: Image.open(path).verify(),
}


def attack(
    root: Path,
    fresh: Callable[[], object],
    target: Callable[..., None],
    *args: Any,
    numbers: Iterable[int] = EVERY,
    once: bool = False,
) -> None:
    """Kill `target` at its writes below `root`, let it run again, and compare with an unbroken run.

    Args:
        root: the folder that it writes to.
        fresh: makes the folder as it is before.
        target: what is killed, an importable function.
        *args: its arguments.
        numbers: the writes at which to kill.
        once: it writes each file once, so after a kill each is as before or as at the end.
    """
    fresh()
    before, killed = content(root), 0
    with Victim(root, target, *args) as victim:
        assert victim.run() == 0
        expected = content(root)
        for number in numbers:
            fresh()
            code = victim.run(number)
            if code == 0:  # all writes are done
                assert number > 5
                break
            assert code == KILLED
            killed += 1
            whole(root)
            for path in named(root) if once else ():
                name = str(path.relative_to(root))
                assert _bytes(path) in (before.get(name), expected.get(name)), (number, name)
            assert victim.run() == 0, number
            found = content(root)
            assert found.keys() == expected.keys(), (number, found.keys() ^ expected.keys())
            assert [name for name in found if found[name] != expected[name]] == [], number
        else:
            assert numbers is not EVERY, "no end of writes"
    print(f"{target.__name__}: killed at {killed} writes, each time whole and then equal")


def whole(root: Path) -> None:
    """Read every file that has its own name; what a killed write leaves begins with a dot."""
    for path in named(root):
        assert path.suffix not in READERS or READERS[path.suffix](path) is not False
        assert b"half a li" not in path.read_bytes()[:20], path


def named(root: Path) -> list[Path]:
    """The files below a folder, but those of which a part of the path begins with a dot."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [
        path for path in files
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]  # fmt: skip


def content(root: Path) -> dict[str, bytes]:
    """The files of a folder, hidden ones too; of checkpoints, which hold seconds, the weights.

    Left out are locks: that of a dead process is taken over by whoever needs it, and holds nobody.
    """
    files = [
        path for path in root.rglob("*")
        if path.is_file() and path.name not in OF_THE_HOUR and path.suffix != ".lock"
    ]  # fmt: skip
    return {str(path.relative_to(root)): _bytes(path) for path in files}


def _bytes(path: Path) -> bytes:
    if path.suffix != ".ckpt":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        return b"".join(map(archive.read, names))


class Victim:
    """Runs a target again and again, each time in a fork of one process with its imports.

    The imports of the first run are repeated in that process, so that later forks have them. It
    does not run the target itself: PyTorch does not train in a fork of a process that has trained.

    Args:
        root: the folder whose files count.
        target: an importable function.
        *args: its arguments.
    """

    def __init__(self, root: Path, target: Callable[..., Any], *args: Any) -> None:
        self._pipe, other = SERVER.Pipe()
        words = (other, str(root.resolve()), target, args)
        self._process = SERVER.Process(target=_serve, args=words)
        self._process.start()
        other.close()

    def run(self, number: int = 0) -> int:
        """Run the target; it dies at write `number`, or not at all if that is 0.

        Returns:
            Its exit code: KILLED, or 0 if it ended before.
        """
        self._pipe.send(number)
        code: int = self._pipe.recv()
        return code

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, root: str, target: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Fork for each number that comes."""
    load_plugins()
    first = True
    with contextlib.suppress(EOFError):
        while True:
            number = pipe.recv()
            reader, writer = os.pipe()
            if (pid := os.fork()) == 0:
                os.close(reader)
                _die_at(number, root)
                try:
                    target(*args)
                    with os.fdopen(writer, "w") as imported:
                        imported.write("\n".join(sys.modules) if first else "")
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            os.close(writer)
            with os.fdopen(reader) as imported:
                names = imported.read().split("\n")
            for name in names if first else ():
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            first = False
            pipe.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _die_at(number: int, root: str) -> None:
    """Let this process die at its next write `number`."""
    left = number

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in CHANGES and not (event == "open" and given[2] & WRITING):
            return
        path = given[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(root):
            return
        left -= 1
        if left == 0:
            if event == "open" and not os.path.isdir(path):
                left = -1
                Path(os.fsdecode(path)).write_bytes(b"half a li")
            os._exit(KILLED)

    if number:
        sys.addaudithook(hook)
