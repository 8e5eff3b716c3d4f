"""Programs in processes of their own that need not import torch and Lightning again.

An interpreter takes 5 seconds of imports before `dyntemp` does anything. `Forked` takes the words
after `python`, as `subprocess.Popen` does, and forks them from a server that has imported all this:
the fork server of Python's `multiprocessing`. The program has a session, a folder, an environment
and signals of its own, and its `__main__` is the module or file that was named. Use it where the
property is what the program does. Some tests start a true interpreter, since an import may fail.
"""

from __future__ import annotations

import multiprocessing.util
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SERVER: Any = multiprocessing.get_context("forkserver")
SPAWN = multiprocessing.util.spawnv_passfds  # type: ignore[attr-defined]
SERVER.set_forkserver_preload(
    ["solo_registry.jobs.pretrain", "hydra", "lightly.loss", "sklearn.datasets", "timm.models"]
)


def _become(words: list[str], folder: str, variables: dict[str, str], *files: str) -> None:
    """Turn a fork of the server into the program."""
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]  # a person's
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    for number, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    multiprocessing.util.spawnv_passfds = _fork_server  # type: ignore[attr-defined]
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    if module:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def _fork_server(path: Any, words: list[Any], descriptors: list[int]) -> int:
    """Start the fork server of a program as a fork of it, which has imported torch already."""
    code = str(words[-1])
    if not code.startswith("from multiprocessing.forkserver import main"):
        return SPAWN(path, words, descriptors)
    if pid := os.fork():
        return pid
    for number in (signal.SIGINT, signal.SIGTERM):  # as in a new interpreter
        signal.signal(number, signal.SIG_DFL)
    kept = sorted({0, 1, 2, *descriptors})
    for one, other in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(one + 1, other)
    exec(code)
    os._exit(0)


class Forked:
    """A running program, with the members of `subprocess.Popen` that tests use.

    Args:
        words: what stands after `python`: "-m", a module and its words, or a file and its words.
        cwd: the folder in which it runs.
        env: variables on top of the present ones.
    """

    def __init__(
        self, *words: object, cwd: Path | str = ".", env: Mapping[str, str] | None = None
    ) -> None:
        self.args = list(map(str, words))
        variables = {**os.environ, **(env or {})}
        folder = Path(tempfile.mkdtemp(prefix="forked-"))
        weakref.finalize(self, shutil.rmtree, folder)
        self._written = (folder / "out.txt", folder / "err.txt")
        for path in self._written:
            path.touch()
        files = map(str, self._written)
        self._process = SERVER.Process(
            target=_become, args=(self.args, str(cwd), variables, *files)
        )
        self._process.start()
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        code: int | None = self._process.exitcode
        return code

    returncode = property(poll)

    def wait(self, timeout: float = 300) -> int:
        """Wait until it has ended, and return its exit code."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait until it has ended, and return what it wrote to stdout and stderr."""
        self.wait(timeout)
        out, err = (path.read_text(encoding="utf-8") for path in self._written)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal to the program alone; its session is `os.killpg(pid, number)`."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send signal 9 to the program alone."""
        self.send_signal(signal.SIGKILL)


def run_forked(
    *words: object, timeout: float = 300, **where: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as `subprocess.run` does with captured text."""
    program = Forked(*words, **where)
    out, err = program.communicate(timeout)
    return subprocess.CompletedProcess(program.args, program.wait(), out, err)


def torchrun(processes: int) -> list[dict[str, str]]:
    """Return the variables that torchrun gives to each process of a group."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    group = {
        "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    return [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
