"""Two starts of one command: the second waits, says so, and finds what the first has done."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from solo_registry.cli.runs import remove
from solo_registry.errors import UserError
from solo_registry.runs import lock
from solo_registry.runs.lock import held, lock_of

QUIET = Console(quiet=True)
HOLDER = """
import sys, time
from pathlib import Path
from rich.console import Console
from solo_registry.runs.lock import held
with held(Path(sys.argv[1]), Console(quiet=True)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of tmp_path/run."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    process.stdout.close()
    return process


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    process.wait()


@pytest.mark.distributed
def test_the_second_waits_and_names_the_first(
    other: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "POLL", 0.05)
    told = Console(file=io.StringIO(), width=500)
    ended = threading.Event()

    def later() -> None:
        time.sleep(0.3)
        ended.set()
        end(other, signal.SIGINT)

    with pytest.raises(UserError, match=rf"process {other.pid} on .* again when it has ended"):
        held(tmp_path / "run", QUIET, patience=0.1).__enter__()
    threading.Thread(target=later).start()
    with held(tmp_path / "run", told):
        assert ended.is_set()
    text = told.file.getvalue()  # type: ignore[attr-defined]
    assert f"process {other.pid} on {os.uname().nodename} is working on {tmp_path}/run" in text
    assert os.listdir(tmp_path) == []


@pytest.mark.distributed
def test_kill_9_blocks_nobody(other: subprocess.Popen[str], tmp_path: Path) -> None:
    end(other, signal.SIGKILL)
    assert lock_of(tmp_path / "run").exists()
    with held(tmp_path / "run", QUIET, patience=0):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.distributed
def test_a_silent_holder_is_replaced_and_stops_when_it_wakes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z here, a host without power elsewhere: nobody touches the file."""
    short = "from solo_registry.runs import lock; lock.LEASE, lock.BEAT = 0.6, 0.1"
    words = [sys.executable, "-c", f"{short}\n{HOLDER}", str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    monkeypatch.setattr(lock, "LEASE", 0.6)
    monkeypatch.setattr(lock, "BEAT", 0.1)
    monkeypatch.setattr(lock, "POLL", 0.05)
    with pytest.raises(UserError, match="is working on"):  # it is awake
        held(tmp_path / "run", QUIET, patience=1.0).__enter__()
    process.send_signal(signal.SIGSTOP)
    with held(tmp_path / "run", QUIET, patience=5.0):
        process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode and "belongs to another process now" in stderr
        assert lock_of(
            tmp_path / "run"
        ).exists()  # the first has not taken away what is not its own


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write .*\.5\.lock"):
        held(tmp_path / "runs" / "5", QUIET).__enter__()


def test_a_link_has_the_lock_of_its_folder_and_a_thread_has_it_twice(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with held(tmp_path / "link", QUIET):
        with held(tmp_path / "real", QUIET, patience=0):
            pass
        assert lock_of(tmp_path / "real").exists()
    assert not lock_of(tmp_path / "real").exists()


@pytest.mark.distributed
def test_a_run_that_is_being_written_is_not_removed(
    other: subprocess.Popen[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for file in (run / "resolved.yaml", tmp_path / "another"):
        file.touch()
    with pytest.raises(UserError, match=rf"process {other.pid} on .* is working on"):
        remove(str(run), yes=True)
    assert (run / "resolved.yaml").exists()
    end(other, signal.SIGKILL)
    remove(str(run), yes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


@pytest.mark.parametrize("name", ["run", "run [2]", "*"])
def test_who_gets_the_lock_finds_no_parts_of_killed_writes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    mine = [folder / ".result.json.12.part", tmp_path / f".{name}.12.part"]
    others = [folder / "result.json", tmp_path / ".other.12.part"]
    for file in mine + others:
        file.touch()
    with held(folder, QUIET):
        assert [file.exists() for file in mine + others] == [False, False, True, True]
