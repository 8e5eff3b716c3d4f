"""Runs a sweep's trials as tasks of a Ray cluster, in place of processes of this machine.

The sweep itself stays here and reads the run folders, so all nodes must see the same files. A task
runs its trial in a process of its own, as a launcher's worker does. If its node is lost, Ray starts
the task again elsewhere, and the trial goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig
from rich.console import Console

from solo_registry.errors import UserError
from solo_registry.jobs.worker import finish, start
from solo_registry.paths import is_dir
from solo_registry.runs.lifetime import STOPPED
from solo_registry.runs.run_folder import RunFolder
from solo_registry.sweep.follow import Started
from solo_registry.sweep.space import RayConfig

LOST = 3  # times that Ray starts a trial again whose node or worker was lost


class Starter(Protocol):
    """Starts a trial's run."""

    def __call__(self, cfg: DictConfig, overrides: Sequence[str], run: RunFolder) -> Started:
        """Start it; `jobs.worker.start` explains the arguments."""


@contextlib.contextmanager
def starting(config: RayConfig, console: Console) -> Iterator[Starter]:
    """Yield what starts a trial: a process of this machine, or a task of the Ray cluster.

    Args:
        config: the section `sweep.ray`.
        console: where the size of the cluster is printed.

    Raises:
        UserError: Ray is not installed or not reached, or no node has what a trial asks for.
    """
    if not config.address:
        yield start
        return
    ray = _connected(config.address)
    try:
        _check_nodes(ray.nodes(), config, console)
        task = ray.remote(num_cpus=config.num_cpus, num_gpus=config.num_gpus, max_retries=LOST)(
            _run_trial
        )
        yield partial(Task, ray, task)
    finally:
        ray.shutdown()


class Task:
    """A trial that runs as a task of Ray, with the methods of a process that `follow` calls.

    Args:
        ray: the package.
        task: the remote function.
        cfg: the composed config of the run.
        overrides: the arguments that the config was composed from.
        run: its folder.
    """

    def __init__(
        self, ray: Any, task: Any, cfg: DictConfig, overrides: Sequence[str], run: RunFolder
    ) -> None:
        self._ray = ray
        self._result = task.remote(cfg, list(overrides), str(run.path), os.getcwd())
        self.exitcode: int | None = None

    def is_alive(self) -> bool:
        """Whether the task runs or waits for a node."""
        self.join(0)
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the task has ended, for at most `timeout` seconds.

        Raises:
            UserError: a node could not start the trial, or the cluster is gone.
        """
        if self.exitcode is not None:
            return
        errors = self._ray.exceptions
        try:
            self.exitcode = self._ray.get(self._result, timeout=timeout)
        except errors.GetTimeoutError:
            pass
        except errors.TaskCancelledError:
            self.exitcode = STOPPED
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
            self.exitcode = -9  # SIGKILL, which Windows lacks
        except errors.RayError as error:
            self.exitcode = STOPPED
            cause = getattr(error, "cause", None) or error
            text = f"the Ray cluster could not run a trial: {type(cause).__name__}: {cause}"
            raise UserError(f"{text}. The same command goes on from what is saved") from error

    def terminate(self) -> None:
        """Ask the run to stop: it finishes its batch."""
        self._ray.cancel(self._result)

    def kill(self) -> None:
        """End the run at once."""
        self._ray.cancel(self._result, force=True)


def _run_trial(cfg: DictConfig, overrides: list[str], path: str, folder: str) -> int | None:
    """Run one trial on a node of the cluster; return the exit code of its process."""
    if not is_dir(Path(folder)):
        raise UserError(
            f"the node {socket.gethostname()} has no folder {folder}: a sweep on Ray needs a file "
            "system that all nodes share"
        )
    os.chdir(folder)
    try:
        return finish(lambda: start(cfg, overrides, RunFolder(Path(path))))[0]
    except KeyboardInterrupt:  # Ray's way to cancel a task
        return STOPPED


def _connected(address: str) -> Any:
    """Return the package, connected to a cluster.

    Raises:
        UserError: Ray is not installed, or no cluster answers at `address`.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"sweep.ray.address={address} needs Ray: pip install 'solo-dyntemp[ray]' ({error})"
        ) from error
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():  # where nobody listens, Ray waits for minutes and then aborts
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"sweep.ray.address={address}: nobody answers ({error})") from error
    os.environ.setdefault("RAY_worker_niceness", "0")  # 15 otherwise, which waits for idle cores
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own handler there
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error",
                 **({"include_dashboard": False} if address == "local" else {}))  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"sweep.ray.address={address}: no Ray cluster can be joined ({error}). auto finds the "
            "one of this machine, which `ray start --head` starts; local starts one for this sweep"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    return ray


def _check_nodes(nodes: Sequence[dict[str, Any]], config: RayConfig, console: Console) -> None:
    """Print the size of the cluster; refuse or announce a trial for which no node is large enough.

    Args:
        nodes: what `ray.nodes()` returns.
        config: the section `sweep.ray`.
        console: where to print.
    """
    have = [node["Resources"] for node in nodes if node["Alive"]]
    total = {name: sum(one.get(name, 0.0) for one in have) for name in ("CPU", "GPU")}
    asks = f"CPUs {config.num_cpus:g}, GPUs {config.num_gpus:g}"
    console.print(
        f"Ray: nodes {len(have)}, CPUs {total['CPU']:g}, GPUs {total['GPU']:g}; a trial takes "
        f"{asks}", soft_wrap=True, highlight=False, markup=False,
    )  # fmt: skip
    if any(
        one.get("CPU", 0.0) >= config.num_cpus and one.get("GPU", 0.0) >= config.num_gpus
        for one in have
    ):
        return
    text = f"no node of the Ray cluster has what sweep.ray gives to a trial: {asks}"
    if config.address == "local":
        raise UserError(text)
    console.print(f"{text}; trials wait until one joins", soft_wrap=True, highlight=False)
