"""One process at a time: a lock beside the folder or file that a command writes.

The lock is filelock's `SoftFileLease`: a small file that names the process and its host, which the
holder touches every `BEAT` seconds. It needs nothing of the file system but exclusive creation, so
it also holds between the hosts of a cluster, where NFS and Lustre often leave kernel locks out.

- A holder on this host that is gone, `kill -9` included, is replaced at once.
- A holder on another host, or a stopped one, is replaced when it has not touched the file for
  `LEASE` seconds. If it wakes up later, it notices and stops.
"""

from __future__ import annotations

import _thread
import glob
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.runs.run_folder import cannot_write, remove_parts

LEASE = 120.0  # seconds without a touch after which a holder counts as gone; equal on all hosts
BEAT = 10.0  # seconds between two touches; one call can keep Python from running for longer
POLL = 1.0  # seconds between two looks while waiting


@contextmanager
def held(target: Path, console: Console, patience: float | None = None) -> Iterator[None]:
    """Hold the lock of a folder or file; if another process has it, say so and wait.

    What the caller knows about `target` can be old when it gets the lock: look again inside. What
    killed writes have left of `target`, beside it and directly in it, is removed. A thread that has
    the lock gets it once more.

    Args:
        target: what will be written; it need not exist. The lock is `.<name>.lock` beside it.
        console: where a wait is announced.
        patience: seconds to wait at most; None waits until the other process has ended, 0 raises
            without a word.

    Raises:
        UserError: the other process still has it, or the lock cannot be written.
    """
    written, target = target.absolute(), target.resolve()
    path = lock_of(target)
    lock = SoftFileLease(
        path, lease_duration=LEASE, heartbeat_interval=BEAT, on_compromise=_lost, is_singleton=True
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if patience == 0:
                raise
            text = (
                f"{_holder(lock)} is working on {target}: waiting for it. Ctrl-C ends this wait "
                "and not that process"
            )
            console.print(text, soft_wrap=True, highlight=False, markup=False)
            lock.acquire(timeout=-1 if patience is None else patience, poll_interval=POLL)
    except Timeout as error:
        raise UserError(
            f"{_holder(lock)} is working on {target}: start this command again when it has ended, "
            f"or remove {path} to end its claim"
        ) from error
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error
    try:
        remove_parts(written.parent, glob.escape(written.name))
        remove_parts(written)
        yield
    finally:
        lock.release()


def lock_of(target: Path) -> Path:
    """Return the path of the lock of a folder or file.

    >>> lock_of(Path("runs/simclr-digits/0123456789/5")).as_posix()
    'runs/simclr-digits/0123456789/.5.lock'
    """
    return target.with_name(f".{target.name}.lock")


def _holder(lock: SoftFileLease) -> str:
    """Name the process that holds a lock."""
    owner = lock.owner
    if owner is None:  # released, or just being written
        return "another process"
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"  # `?`: a container's mark


def _lost(compromise: LeaseCompromise) -> None:
    """End this process's work, as Ctrl-C does: it was stopped, and another has taken its place."""
    if compromise.reason != "refresh-failed":
        print(f"\n{compromise.lock_file} belongs to another process now", file=sys.stderr)
        if sys.platform == "win32":  # `os.kill` would end it at once
            _thread.interrupt_main()
        else:
            os.kill(os.getpid(), signal.SIGINT)
