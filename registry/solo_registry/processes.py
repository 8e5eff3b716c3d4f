"""The server that starts processes quickly, and the signals that all processes of a job get."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from multiprocessing import resource_tracker

# SLURM and submitit send them before they end a job; Windows has only the first
SIGNALS: list[int] = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2")
                      if hasattr(signal, name)]  # fmt: skip


def start_fork_server(*modules: str) -> None:
    """Start Python's fork server, unless it runs: its processes have the modules at once.

    A process that it starts imports nothing again, which takes seconds for PyTorch. Windows has no
    such server.

    SLURM signals all processes of a job, and the server must not end before its processes. Ctrl-C
    during its imports would print a stack trace. So Ctrl-C and `SIGNALS` are blocked in the server,
    and in its processes until they unblock them.

    Args:
        *modules: what it imports, by dotted names.
    """
    if sys.platform == "win32":
        return
    from multiprocessing.forkserver import ensure_running, set_forkserver_preload

    set_forkserver_preload(list(modules))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    for run in (resource_tracker.ensure_running, ensure_running):  # the first unblocks some signals
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, *SIGNALS])
        run()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve_loaders(workers: int) -> None:
    """Start the fork server for a loader with `workers` processes, where it is Python's default.

    It is so on Linux from Python 3.14 on.
    """
    if workers and multiprocessing.get_start_method() == "forkserver":
        start_fork_server("__main__", "solo_registry.data.module")
