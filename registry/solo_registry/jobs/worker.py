"""Runs one run in a process of its own, so that a crash costs one row and not the comparison."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.outcomes import stand_as
from solo_registry.config.resolve import resolve, settled
from solo_registry.data.from_images import Planned
from solo_registry.paths import exists
from solo_registry.processes import SIGNALS, start_fork_server
from solo_registry.runs.lifetime import (
    STOPPED,
    Signals,
    end_with_parent,
    leave_loky,
    stop_once,
)
from solo_registry.runs.run_folder import RunFolder, write_json

INTERVAL = 0.2  # seconds between two looks at a run
# exit codes of a run that was stopped; negative: before it was ready
STOPS = (STOPPED, -signal.SIGINT, *(-number for number in SIGNALS))


def run_job(cfg: DictConfig) -> None:
    """Train and measure one run; write an error to its error.json.

    Hydra's launchers call this task, here or on another machine.
    """
    end_with_parent()  # this is a launcher's worker; its run then ends too
    load_plugins()
    run = RunFolder.of(Planned().completed(resolve(settled(cfg))))
    words = list(HydraConfig.get().overrides.task)
    while True:
        code, came = finish(lambda: start(cfg, words, run))
        if not came or code not in STOPS:
            break  # else the handlers of what came let it go on
    settle(code, run)


def finish(begin: Callable[[], BaseProcess]) -> tuple[int | None, set[int]]:
    """Wait for a run's process. A signal is passed on to it, and obeyed here when it has saved.

    submitit's handler exits, to be queued again. While the run goes on, Python would wait for it at
    that exit, until it has ended.

    Args:
        begin: starts the process.

    Returns:
        The process's exit code, and the signals that came.
    """
    came: set[int] = set()
    process: BaseProcess | None = None

    def pass_on(number: int, frame: Any = None) -> None:
        came.add(number)
        if sys.platform == "win32":  # Ctrl-C reaches the run too, and `os.kill` would end it
            return
        if process is not None and process.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    with Signals(pass_on) as signals:
        process = begin()
        for number in sorted(came):
            pass_on(number)
        try:
            # another thread may take a signal, and then nothing wakes this one to handle it
            while process.exitcode is None:
                process.join(INTERVAL)
        except KeyboardInterrupt:  # a terminal's Ctrl-C reaches the run too, `kill` does not
            pass_on(signal.SIGINT)
            process.join()
            raise
    signals.obey(sorted(came, key=SIGNALS.index))
    return process.exitcode, came


def start(cfg: DictConfig, overrides: Sequence[str], run: RunFolder) -> BaseProcess:
    """Start one run in a process of its own, which ends with this one.

    Args:
        cfg: the composed config.
        overrides: the arguments that the config was composed from.
        run: its folder.
    """
    process = new_process(cfg, list(overrides), str(run.path))
    process.start()
    return process


def settle(code: int | None, run: RunFolder) -> None:
    """Write error.json if a run's process ended without writing a result or an error itself.

    Args:
        code: exit code of the process.
        run: folder of the run.

    Raises:
        KeyboardInterrupt: Ctrl-C or one of `SIGNALS` stopped the process.
    """
    if code in STOPS:
        raise KeyboardInterrupt
    if code and not exists(run.error):
        cause = f"signal {-code} (9: killed, often for lack of memory)" if code < 0 else str(code)
        write_error(run, f"the process ended with {cause}; see log.txt", "")


def new_process(*args: Any) -> BaseProcess:
    """Return a process that will call `_child`: of a fork server that has imported torch.

    Windows has no such server; a process imports torch there itself.
    """
    leave_loky()
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn").Process(target=_child, args=args)
    start_fork_server("solo_registry.jobs.pretrain")
    forkserver = multiprocessing.get_context("forkserver")
    return forkserver.Process(target=_child, args=args)


def write_error(run: RunFolder, error: str, trace: str) -> None:
    """Write error.json; the run is a row with this error until it is tried again."""
    content: dict[str, Any] = {"error": error, "traceback": trace, "run": run.identity}
    write_json(run.error, content)


def _child(cfg: DictConfig, overrides: list[str], path: str) -> None:
    from solo_registry.console import plain, print_all_names
    from solo_registry.jobs.gpus import take_gpus
    from solo_registry.jobs.pretrain import pretrain

    end_with_parent()
    run = RunFolder(Path(path))
    run.path.mkdir(parents=True, exist_ok=True)
    stand_as(["pretrain", *overrides])
    print_all_names()
    with (run.path / "log.txt").open("a", encoding="utf-8", errors="backslashreplace") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        try:
            for number in (signal.SIGINT, *SIGNALS):
                signal.signal(number, stop_once)
            if sys.platform != "win32":
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, *SIGNALS])
            take_gpus(cfg)
            pretrain(cfg, plain(file=log, width=120))
        except KeyboardInterrupt:
            sys.exit(STOPPED)
        except Exception as error:
            traceback.print_exc()
            write_error(run, f"{type(error).__name__}: {error}", traceback.format_exc())
            sys.exit(1)
    run.error.unlink(missing_ok=True)
