from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig
from tests.forked import Forked

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.jobs.worker import settle
from solo_registry.runs.lifetime import PARENT
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.processes import (
    build_strategy,
    cluster_environment,
    is_further,
    notice,
    one_process,
    srun_tasks,
)

Tiny = Callable[..., DictConfig]
TELLING = (
    "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_", "MASTER_", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK",
    "RANK", "WORLD_SIZE", "JSM_", PARENT,
)  # fmt: skip
# a batch script or a shell of salloc: SLURM's variables, but no step of srun
ALLOCATION = {
    "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1",
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NAME": "train",
}  # fmt: skip
STEP = {**ALLOCATION, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400",
}  # fmt: skip


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what another launcher of these tests may have set."""
    for name in [name for name in os.environ if name.startswith(TELLING)]:
        monkeypatch.delenv(name)


@pytest.fixture
def given(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Return a maker of resolved configs in an environment: given(STEP, "devices=2")."""

    def make(variables: dict[str, str], *words: str) -> DictConfig:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return resolve(tiny("simclr", *words))

    return make


@pytest.mark.parametrize(
    ("variables", "words", "message"),
    [
        (TORCHRUN, ["devices=1"], r"torchrun has started 2 .* says 1 .*devices=2"),
        (TORCHRUN, ["num_nodes=2", "devices=2"], r"torchrun has started 2 .* says 4 .*devices=1"),
        (TORCHRUN | {"LOCAL_RANK": "1"}, ["num_nodes=2"], r"process 1 \(from 0\) of this node"),
        (STEP, ["devices=1"], r"srun has started 2 processes, the config says 1 "),
        (STEP | {"SLURM_JOB_NAME": "interactive"}, ["devices=1"], r"srun has started 2"),
        (STEP | {"SLURM_NNODES": "2"}, ["devices=2"], r"srun .* cannot connect: .*num_nodes=2"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, ["devices=1"], r"mpirun has started 2 processes"),
        ({"WORLD_SIZE": "2"}, ["devices=1"], r"WORLD_SIZE=2 .* says 1 processes .*devices=2"),
        ({"WORLD_SIZE": "3"}, ["devices=2", "num_nodes=2"], r"Set devices=3 num_nodes=1"),
        ({"WORLD_SIZE": "two"}, ["devices=1"], r"WORLD_SIZE must be a whole number, it is 'two'"),
        ({}, ["num_nodes=2"], r"missing: MASTER_ADDR, MASTER_PORT, NODE_RANK"),
        (ALLOCATION, ["num_nodes=2"], r"missing: MASTER_ADDR, MASTER_PORT, NODE_RANK"),
        (
            {"MASTER_ADDR": "a", "MASTER_PORT": "29400", "NODE_RANK": "2"}, ["num_nodes=2"],
            r"NODE_RANK=2 must be below num_nodes=2",
        ),
        ({"LOCAL_RANK": "0"}, ["devices=2"], r"LOCAL_RANK=0 .* MASTER_PORT"),
        ({"MASTER_PORT": "70000"}, ["devices=2"], r"MASTER_PORT must be from 1 to 65535"),
    ],
)  # fmt: skip
def test_other_processes_than_the_configs_are_refused_before_anything_waits(
    given: Any, variables: dict[str, str], words: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        cluster_environment(given(variables, *words))


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "4294967290"}])  # an interactive step
def test_slurm_without_srun_is_no_group_of_processes(given: Any, step: dict[str, str]) -> None:
    cfg = given(ALLOCATION | step, "devices=2")
    assert isinstance(cluster_environment(cfg), LightningEnvironment)
    assert srun_tasks() == 0
    assert "SLURM has 2 tasks" in notice(cfg) and "the run has 2 of its own" in notice(cfg)


def test_who_started_as_many_as_the_config_says_is_believed(given: Any) -> None:
    found = cluster_environment(given(STEP | {"SLURM_PROCID": "1"}, "devices=2"))
    assert isinstance(found, SLURMEnvironment) and found.world_size() == 2
    assert is_further(found) and not found.auto_requeue
    with pytest.raises(UserError, match="srun has started 2 processes, linear runs in one"):
        one_process("linear")
    found = cluster_environment(given(TORCHRUN, "devices=2"))  # which can run inside a step
    assert isinstance(found, TorchElasticEnvironment) and is_further(found)


def test_one_task_of_srun_starts_its_own_processes(given: Any) -> None:
    alone = {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}
    cfg = given(STEP | alone, "devices=2")
    assert isinstance(cluster_environment(cfg), LightningEnvironment) and notice(cfg) == ""


def test_a_process_that_rank_0_started_leaves_other_runs_alone(given: Any, tiny: Tiny) -> None:
    cfg = given({PARENT: "1", "LOCAL_RANK": "1"}, "devices=1")
    assert is_further(cluster_environment(cfg))
    assert not pretrain(tiny("simclr")).path.exists()


def test_the_time_to_wait_is_the_strategys_and_not_of_the_hash(tiny: Tiny) -> None:
    cfg = resolve(tiny("simclr", "devices=2", "timeout_minutes=3"))
    strategy = build_strategy(cfg)
    assert isinstance(strategy, DDPStrategy) and strategy._timeout == timedelta(minutes=3)
    named = build_strategy(resolve(tiny("simclr", "strategy=ddp_find_unused_parameters_true")))
    assert isinstance(named, DDPStrategy) and named._timeout == timedelta(minutes=10)
    assert named._ddp_kwargs == {"find_unused_parameters": True}
    assert config_hash(cfg) == config_hash(resolve(tiny("simclr", "devices=2")))
    for value in ("0", ".nan", ".inf"):
        with pytest.raises(UserError, match=r"timeout_minutes must be in \(0, 100000\]"):
            resolve(tiny("simclr", f"timeout_minutes={value}"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("strategy=ddp_spawn", "strategy=ddp starts the command once more"),
        ("strategy=dpp", "no trainer for .* strategy=dpp"),
        ("accelerator=tpu", "no trainer for accelerator=tpu"),
        ("accelerator=abacus", "no trainer for accelerator=abacus"),
    ],
)
def test_what_lightning_cannot_build_is_a_paragraph(tiny: Tiny, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(tiny("simclr", word))
    assert not list(Path(tiny("simclr").runs_dir).rglob("*"))


def test_a_run_that_a_signal_ended_was_stopped(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with pytest.raises(KeyboardInterrupt):
            settle(-number, RunFolder(tmp_path))
    settle(-signal.SIGKILL, RunFolder(tmp_path))
    assert "signal 9" in (tmp_path / "error.json").read_text()


WORDS = (
    "method=simclr", "data=digits", "max_epochs=1", "progress=lines", "accelerator=cpu",
    "backbone.kwargs.channels=[8,8,16,16]", "data.num_workers=0", "evaluation.enabled=false",
    "telemetry.every_n_epochs=0",
)  # fmt: skip
COMMAND = ("-m", "solo_registry", "pretrain", *WORDS)


@contextlib.contextmanager
def started(folder: Path, *words: str, **variables: str) -> Iterator[Forked]:
    """Start a command, and leave no process of it behind."""
    process = Forked(*words, cwd=folder, env=variables)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.distributed
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.nightly), signal.SIGTERM]
)
def test_a_signal_ends_a_process_that_waits_for_its_partner(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    with started(tmp_path, *COMMAND, "num_nodes=2", **meeting) as process:
        deadline = time.monotonic() + 120
        while True:  # it listens on the port as soon as it waits
            assert process.poll() is None and time.monotonic() < deadline
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        time.sleep(0.5)
        process.send_signal(number)
        out, _ = process.communicate(10)
        assert process.returncode == -number
        assert "waiting for the other nodes, 10 minutes at most" in out


@pytest.mark.distributed
def test_a_rendezvous_without_a_partner_ends_in_time(tmp_path: Path) -> None:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "NODE_RANK": "0"}
    words = (*COMMAND, "num_nodes=2", "timeout_minutes=0.02")
    with started(tmp_path, *words, **meeting) as process:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2 and "did not connect" in err and "timeout_minutes" in err
        assert "Traceback" not in err


@pytest.mark.distributed
def test_a_port_that_is_taken_is_a_paragraph(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        with started(tmp_path, *COMMAND, "devices=2", MASTER_PORT=port) as process:
            _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and f"port {port}" in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
@pytest.mark.distributed
def test_slurm_without_srun_trains_as_many_processes_as_the_config_says(tmp_path: Path) -> None:
    with started(tmp_path, *COMMAND, "devices=2", **ALLOCATION) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "x 2 devices x" in out, out + err
    row = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()[1]
    assert row.split(",")[1] == "2"  # 1,437 images make 2 steps of 2 x 256, not 5 of 256


@pytest.mark.distributed
def test_two_tasks_of_srun_train_one_run(tmp_path: Path) -> None:
    step = {**STEP, "SLURM_NODELIST": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{**step, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]
    with (
        started(tmp_path, *COMMAND, "devices=2", **ranks[0]) as first,
        started(tmp_path, *COMMAND, "devices=2", **ranks[1]) as second,
    ):
        out, err = first.communicate(timeout=120)
        quiet, more = second.communicate(timeout=120)
    assert (first.returncode, second.returncode) == (0, 0), err + more
    assert out.count("epoch 1/1") == 1 and "epoch" not in quiet


@pytest.mark.nightly
@pytest.mark.distributed
def test_torchrun_with_a_config_for_one_is_refused(tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    with started(tmp_path, *torchrun, *COMMAND, "devices=1") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and "torchrun has started 2 processes" in err
    assert not list(tmp_path.iterdir())
