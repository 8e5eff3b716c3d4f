"""How the processes of a run end: by a signal, or together with the process that started them.

A killed run must leave no process behind. Otherwise an orphan would train beside the run that is
started again. No process can act after `kill -9`, so each process watches the one above it:

    command -> (a launcher's worker) -> run -> rank 1, 2, ... -> their loader processes (PyTorch's)
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from solo_registry.processes import SIGNALS

STOPPED = 130  # exit code after Ctrl-C or one of SIGNALS
PARENT = "DYNTEMP_PARENT"  # the parent's id, for processes that `multiprocessing` did not start


_stopping = threading.Event()


def stop(*_: Any) -> NoReturn:
    """Handle Ctrl-C and SIGNALS: the first stops the process in order, the second ends it at once.

    A second `KeyboardInterrupt` would surface wherever the process is stopping, as a stack trace.
    Ending at once loses nothing, since files are complete at any moment.
    """
    if _stopping.is_set():
        text = "\nEnded at once. The same command goes on from what is saved.\n"
        os.write(2, text.encode())
        os._exit(STOPPED)
    _stopping.set()
    raise KeyboardInterrupt


def stop_once(*_: Any) -> NoReturn:
    """Stop and ignore further signals, because the terminal and the parent may both send one."""
    for number in (signal.SIGINT, *SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class Signals:
    """Handles `SIGNALS` in place of the handlers that were there, which `obey` calls later.

    Only a process's main thread can; in another one nothing is changed.

    Args:
        handle: gets the number of a signal and the frame.
    """

    def __init__(self, handle: Callable[[int, Any], None]) -> None:
        self.handle = handle
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        """Install `handle`, but where a signal is ignored."""
        if threading.current_thread() is threading.main_thread():
            handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self.before = {n: one for n, one in handlers.items() if one != signal.SIG_IGN}
            for number in self.before:
                signal.signal(number, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers; None is one that Python did not install."""
        for number, handler in self.before.items():
            if signal.getsignal(number) == self.handle and handler is not None:
                signal.signal(number, handler)

    def obey(self, numbers: Iterable[int]) -> None:
        """Call the handler that was there before; stop where there was none."""
        for number in numbers:
            handler = self.before.get(number)
            (handler if callable(handler) else stop)(number, None)


def is_stop(error: BaseException | None) -> bool:
    """Whether `error` was raised while the process was stopping.

    >>> is_stop(ValueError())
    False
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextlib.contextmanager
def parent_of_all() -> Iterator[None]:
    """Make our programs that are started inside this context end together with this process."""
    before = os.environ.get(PARENT)
    os.environ[PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[PARENT]
        if before is not None:
            os.environ[PARENT] = before


def leave_loky() -> None:
    """Start processes in Python's way in a worker of joblib too, whose own way fails for others."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        multiprocessing.set_start_method(None, force=True)


def end_with_parent() -> bool:
    """End this process as soon as the one that started it has ended, however that happens.

    Returns:
        Whether one of our processes started this one; otherwise a person did.
    """
    started = multiprocessing.parent_process()  # the process that asked, not the fork server
    pid = int((started.pid if started else os.environ.get(PARENT)) or os.getpid())
    if pid == os.getpid():
        return False
    wait: Callable[[], None]
    if sys.platform != "win32":
        wait = functools.partial(_wait, pid)
    elif started:
        wait = started.join
    else:  # by its id alone, Windows lets nobody wait for a process
        return True
    threading.Thread(target=_end_after, args=(wait,), daemon=True).start()
    return True


def _end_after(wait: Callable[[], None]) -> None:
    """End this process when `wait` returns."""
    wait()
    os._exit(1)


def _wait(pid: int) -> None:
    """Return when a process has ended. Windows would end it, for lack of a signal 0."""
    if sys.platform == "linux":
        try:
            watch = select.poll()
            watch.register(os.pidfd_open(pid), select.POLLIN)
            watch.poll()
            return
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # an old kernel, or a container that forbids the call
            pass
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)
            time.sleep(1)
