from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from solo_registry.runs.lifetime import PARENT, STOPPED, end_with_parent, is_stop, parent_of_all

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

IMPORTS = "from solo_registry.runs.lifetime import *; import subprocess"
CHILD = "end_with_parent(); print('up', flush=True); time.sleep(60)"
STARTERS = {
    "program": f"""
with parent_of_all():
    subprocess.Popen([sys.executable, "-c", "{IMPORTS}; SETTING {CHILD}"])
    time.sleep(60)
""",
    "fork server": f"""
def child():
    SETTING {CHILD}
if __name__ == "__main__":
    multiprocessing.get_context("forkserver").Process(target=child).start()
    time.sleep(60)
""",
}
SETTINGS = {"pidfd": "", "polling": "os.pidfd_open = lambda _: open('/nowhere');"}


@pytest.mark.distributed
@pytest.mark.parametrize("starter", STARTERS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_process_ends_when_its_parent_is_killed(
    starter: str, setting: str, tmp_path: Path
) -> None:
    program = tmp_path / "starter.py"
    program.write_text(f"{IMPORTS}\n{STARTERS[starter].replace('SETTING', SETTINGS[setting])}")
    parent = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    killed = time.monotonic()
    assert parent.stdout.read() == ""  # ends when nobody holds the pipe open
    parent.stdout.close()
    assert time.monotonic() - killed < 10


def test_a_process_that_a_person_started_follows_nobody() -> None:
    assert not end_with_parent()
    with parent_of_all():
        assert os.environ[PARENT] == str(os.getpid()) and not end_with_parent()
    assert PARENT not in os.environ


def test_what_goes_wrong_while_stopping_is_part_of_the_stop() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("a loader process was killed")
    assert is_stop(caught.value) and not is_stop(RuntimeError())


STOPPING = f"""{IMPORTS}
import signal
signal.signal(signal.SIGINT, stop)
try:
    print("up", flush=True)  # in here, so that the signal finds the handler of this block
    time.sleep(60)
except KeyboardInterrupt:
    print("stopping", flush=True)
    time.sleep(60)  # what is cleaned up can take long
"""


@pytest.mark.distributed
def test_the_second_signal_ends_at_once_and_without_a_trace() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in ("up\n", "stopping\n"):
            assert process.stdout.readline() == line
            process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == STOPPED and "Traceback" not in stderr
    assert stderr == "\nEnded at once. The same command goes on from what is saved.\n"
