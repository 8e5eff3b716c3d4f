"""How the processes of a run end: when they are told to, and with the one that started them.

A run that is killed must leave nobody behind, or an orphan would train on beside the run that is
started again. No process can act after `kill -9`, so each one watches the one above it:

    command -> (a launcher's worker) -> run -> rank 1, 2, ... -> their loader processes (PyTorch's)
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

STOPPED = 130  # exit code after Ctrl-C or SIGTERM
PARENT = "DYNTEMP_PARENT"  # process id, for those that `multiprocessing` did not start


def stop(*_: Any) -> NoReturn:
    """Handle SIGTERM as Ctrl-C, so that both end in the same words."""
    raise KeyboardInterrupt


def stop_once(*_: Any) -> NoReturn:
    """Stop, deaf to further signals: the terminal and the parent may both send one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def is_stop(error: BaseException | None) -> bool:
    """Whether `error` came up while the process was stopping.

    >>> is_stop(ValueError())
    False
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextlib.contextmanager
def parent_of_all() -> Iterator[None]:
    """Make the programs that are started inside end with this process, if they are ours."""
    before = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[PARENT]
        if before is not None:
            os.environ[PARENT] = before


def end_with_parent() -> bool:
    """End this process as soon as the one that started it has ended, however that happens.

    Returns:
        Whether there is one of ours; without one, a person started this process.
    """
    started = multiprocessing.parent_process()  # not the fork server, which is nobody's concern
    pid = int((started.pid if started else os.environ.get(PARENT)) or os.getpid())
    if pid == os.getpid():
        return False
    if sys.platform != "win32":  # where nothing but the parent's handle would tell
        threading.Thread(target=_end_after, args=(pid,), daemon=True).start()
    return True


def _end_after(pid: int) -> None:
    try:
        watch = select.poll()
        watch.register(os.pidfd_open(pid), select.POLLIN)
        watch.poll()
    except ProcessLookupError:
        pass
    except (AttributeError, OSError):  # not Linux, or a container that forbids the call
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                time.sleep(1)
    os._exit(1)
