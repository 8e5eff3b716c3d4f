"""The fork server: what it has imported its processes have, and no signal of a job ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from solo_registry.processes import SIGNALS

CODE = """
import multiprocessing, os, signal, sys
from multiprocessing import forkserver
from solo_registry.processes import serve_loaders

def imported(connection):
    connection.send("solo_registry.data.module" in sys.modules)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    serve_loaders(0)
    assert forkserver._forkserver._forkserver_pid is None
    serve_loaders(1)
    server = forkserver._forkserver._forkserver_pid
    if server:
        for number in map(int, sys.argv[2:]):
            os.kill(server, number)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=imported, args=(theirs,))
    process.start()
    print(ours.recv())
    process.join()
    assert process.exitcode == 0
"""


@pytest.mark.distributed
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork server")
@pytest.mark.parametrize(("method", "expected"), [("forkserver", "True"), ("spawn", "False")])
def test_the_server_has_the_modules_and_outlives_a_jobs_signals(
    method: str, expected: str, tmp_path: os.PathLike[str]
) -> None:
    script = os.path.join(tmp_path, "script.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(CODE)
    numbers = [str(int(number)) for number in (signal.SIGINT, *SIGNALS)]
    done = subprocess.run(
        [sys.executable, script, method, *numbers], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.strip() == expected, done.stdout + done.stderr
