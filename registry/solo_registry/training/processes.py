"""The processes that train one run: who starts them, how many exist, and how they connect.

The keys `devices` and `num_nodes` determine the learning rate, the queue and the records. So
exactly `devices` x `num_nodes` processes must exist, whoever starts them. The run starts those of
its own node, unless torchrun, srun, jsrun or mpirun has started them.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.lsf import LSFEnvironment
from lightning.fabric.plugins.environments.mpi import MPIEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import Strategy, StrategyRegistry
from omegaconf import DictConfig

from solo_registry.config.devices import count_devices, count_processes
from solo_registry.errors import UserError
from solo_registry.runs.lifetime import PARENT

UNPARALLEL_STEPS = 0xFFFFFFF0  # from here on: SLURM's ids of batch scripts and interactive shells
MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
# exceptions that PyTorch raises, if built with them, when processes do not connect
NOT_MET: tuple[type[Exception], ...] = tuple(
    getattr(dist, name) for name in ("DistNetworkError", "DistStoreError") if hasattr(dist, name)
)
MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


class Launcher(NamedTuple):
    """The program that has started the processes of a run."""

    name: str
    processes: int
    environment: Callable[[], ClusterEnvironment]


def launcher() -> Launcher | None:
    """Read from the environment which program started this process in a group; None if none did.

    Raises:
        UserError: a variable that must be a number is not one.
    """
    if TorchElasticEnvironment.detect():
        return Launcher("torchrun", number("WORLD_SIZE", 1), TorchElasticEnvironment)
    if (tasks := srun_tasks()) > 1:
        # a run resumes from its own checkpoint, so Lightning's requeueing is not needed
        return Launcher("srun", tasks, lambda: SLURMEnvironment(auto_requeue=False))
    if LSFEnvironment.detect() and (tasks := number("JSM_NAMESPACE_SIZE", 1)) > 1:
        return Launcher("jsrun", tasks, LSFEnvironment)
    for name in MPI_SIZES:
        if (tasks := number(name, 1)) > 1:
            return Launcher("mpirun", tasks, MPIEnvironment)
    return None


def srun_tasks() -> int:
    """Return the number of tasks of this process's srun step; 0 if srun did not start it.

    The variables of an allocation (`SLURM_NTASKS`, `SLURM_PROCID`) are also set where only one
    process runs: in a batch script without srun, in a shell of salloc, in a notebook on a node.
    """
    step = os.environ.get("SLURM_STEP_ID", "")
    if not step.isdecimal() or int(step) >= UNPARALLEL_STEPS:
        return 0
    return number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 1))


def number(name: str, default: int) -> int:
    """Read an environment variable that must be a whole number."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise UserError(f"the environment variable {name} must be a whole number, it is '{text}'")
    return int(text)


def cluster_environment(cfg: DictConfig) -> ClusterEnvironment:
    """Return how this process finds the others of its run, after checking their number.

    Returns:
        Lightning's cluster environment, for the Trainer. SLURM's variables count only if srun has
        started several tasks.

    Raises:
        UserError: the number of processes differs from the config's, or a variable that they need
            to connect is missing. It is raised before a process waits.
    """
    found = launcher()
    if found:
        environment = _started_by(found, cfg)
        first = environment.global_rank() == 0
    else:
        environment = LightningEnvironment()
        # a process that rank 0 has started is not the first, and rank 0 has checked already
        first = environment.local_rank() == environment.node_rank() == 0
        if first or not os.environ.get(PARENT):
            _check_own(cfg)
    if count_processes(cfg) > 1 and not isinstance(environment, TorchElasticEnvironment):
        _check_port(environment, first)  # torchrun listens on its port itself
    return environment


def is_further(environment: ClusterEnvironment) -> bool:
    """Whether another process of the run is rank 0, judged before the processes connect."""
    started_by_rank_0 = bool(os.environ.get(PARENT)) and environment.local_rank() > 0
    return started_by_rank_0 or environment.global_rank() > 0


def _started_by(found: Launcher, cfg: DictConfig) -> ClusterEnvironment:
    devices, wanted = count_devices(cfg), count_processes(cfg)
    if found.processes != wanted:
        raise UserError(
            f"{found.name} has started {found.processes} processes, the config says {wanted} "
            f"(devices={cfg.devices} x num_nodes={cfg.num_nodes}), and the learning rate follows "
            f"from the config. {_cure(found.processes, cfg.num_nodes)} or start {wanted} of them"
        )
    try:
        environment = found.environment()
        local = environment.local_rank()
        environment.validate_settings(devices, cfg.num_nodes)
    except (KeyError, ModuleNotFoundError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{found.name} has started {found.processes} processes that cannot connect: "
            f"{' '.join(str(error).split())}"
        ) from error
    if local >= devices:
        raise UserError(
            f"{found.name} has started process {local} (from 0) of this node, the config says "
            f"devices={cfg.devices}: set devices to the processes of a node, num_nodes to the nodes"
        )
    return environment


def _cure(processes: int, nodes: int) -> str:
    return (
        f"Set devices={processes // nodes}"
        if processes % nodes == 0
        else f"Set devices={processes} num_nodes=1"
    )


def _check_own(cfg: DictConfig) -> None:
    """Refuse an environment in which a run that starts its own processes would wait forever."""
    wanted = count_processes(cfg)
    if (size := number("WORLD_SIZE", 1)) not in (1, wanted):
        raise UserError(
            f"WORLD_SIZE={size} is in the environment, but the config says {wanted} processes "
            f"(devices={cfg.devices} x num_nodes={cfg.num_nodes}): {_cure(size, cfg.num_nodes)}, "
            "or unset WORLD_SIZE"
        )
    missing = [name for name in MEETING if not os.environ.get(name)]
    if cfg.num_nodes > 1 and missing:
        raise UserError(
            f"num_nodes={cfg.num_nodes} needs a process on each node that finds the others: start "
            "the command by torchrun or srun, or on every node with MASTER_ADDR and MASTER_PORT "
            f"(of the first) and NODE_RANK (from 0) set; missing: {', '.join(missing)}"
        )
    if cfg.num_nodes > 1 and (rank := number("NODE_RANK", 0)) >= cfg.num_nodes:
        raise UserError(f"NODE_RANK={rank} must be below num_nodes={cfg.num_nodes}; it is from 0")
    if wanted > 1 and os.environ.get("LOCAL_RANK") and "MASTER_PORT" in missing:
        raise UserError(
            f"LOCAL_RANK={os.environ['LOCAL_RANK']} is in the environment, so this is one of "
            f"{wanted} processes that another program starts, but MASTER_PORT, which connects "
            "them, is not: unset LOCAL_RANK, or start the command by torchrun"
        )


def _check_port(environment: ClusterEnvironment, first: bool) -> None:
    """Refuse an invalid port, and one that rank 0 cannot listen on; all would wait for it."""
    if not 0 < number("MASTER_PORT", 1) < 2**16:
        raise UserError(f"MASTER_PORT must be from 1 to 65535, it is {os.environ['MASTER_PORT']}")
    if not first:
        return
    try:
        with socket.create_server(("", environment.main_port)):
            pass
    except OSError as error:
        raise UserError(
            f"port {environment.main_port}, through which the processes of this run connect, is "
            f"taken or not allowed ({os.strerror(error.errno or 0)}): set MASTER_PORT to a free "
            "one, or unset it"
        ) from error


def notice(cfg: DictConfig) -> str:
    """Return a note about the processes of a run if they may surprise the user, else ""."""
    if cfg.num_nodes > 1:
        return f"waiting for the other nodes, {cfg.timeout_minutes:g} minutes at most"
    tasks = os.environ.get("SLURM_NTASKS", "1")
    if launcher() or tasks == "1" or srun_tasks():
        return ""
    return (
        f"SLURM has {tasks} tasks for this job, but srun did not start this process: the run has "
        f"{count_processes(cfg)} of its own (devices={cfg.devices}). srun starts one in each task"
    )


def one_process(command: str) -> None:
    """Refuse a command that a launcher has started in several processes at once.

    Raises:
        UserError: torchrun, srun, jsrun or mpirun has started several.
    """
    if (found := launcher()) and found.processes > 1:
        raise UserError(
            f"{found.name} has started {found.processes} processes, {command} runs in one: "
            f"start it without {found.name}"
        )


def build_strategy(cfg: DictConfig) -> Strategy | str:
    """Build Lightning's strategy, with the config's timeout.

    Raises:
        UserError: the strategy would copy the run to its processes, which is not possible.
    """
    name = "auto" if cfg.strategy is None else str(cfg.strategy).lower()
    if "spawn" in name:
        raise UserError(
            f"strategy={cfg.strategy} would send a copy of the run to its processes, which cannot "
            "be made: strategy=ddp starts the command once more for each device"
        )
    if name == "auto" and count_processes(cfg) > 1 and not hasattr(sys, "ps1"):
        name = "ddp"  # Lightning's choice outside of notebooks
    if name not in StrategyRegistry:
        return name
    entry = StrategyRegistry[name]
    if "timeout" not in inspect.signature(entry["strategy"]).parameters:
        return name
    limit = timedelta(minutes=cfg.timeout_minutes)
    strategy: Strategy = entry["strategy"](**entry["init_params"], timeout=limit)
    return strategy


def not_met(error: Exception) -> UserError:
    """Return the message for processes that did not connect: the reason, and what to do."""
    reason = " ".join(str(error).split())
    return UserError(
        "the processes of this run did not connect: each waits for the others at MASTER_ADDR "
        f"({os.environ.get('MASTER_ADDR')}), MASTER_PORT ({os.environ.get('MASTER_PORT')}), for "
        f"timeout_minutes at most. Is one missing on some node, or the port taken? ({reason[:300]})"
    )


def is_of_peer(error: Exception) -> bool:
    """Whether an exchange failed because another process of the run has ended or is silent.

    >>> is_of_peer(RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer"))
    True
    >>> is_of_peer(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    False
    """
    known = tuple(getattr(dist, name) for name in ("DistError",) if hasattr(dist, name))
    return isinstance(error, known) or any(word in str(error) for word in ("gloo/", "NCCL"))


def peer_ended(error: Exception) -> UserError:
    """Return the message for a process of the run that has ended: the reason, and what to do."""
    reason = " ".join(str(error).split())
    return UserError(
        "another process of this run has ended or does not answer (killed, often for lack of "
        "memory; if it failed by itself, its message is above). The same command goes on from the "
        f"last finished epoch ({reason[:200]})"
    )
