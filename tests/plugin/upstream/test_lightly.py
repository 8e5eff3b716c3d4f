"""The pull request to lightly: on the installed package, and on a clone where there is one.

`LIGHTLY_CLONE` names the folder of a clone; without it, the tests that need one are skipped.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import lightly
import pytest
import torch
from tests.plugin.upstream.clones import committed, fill
from torch import Tensor, nn

from solo_dyntemp import CosineTemperature, DynTempNTXentLoss
from solo_dyntemp.upstream.command import run
from solo_dyntemp.upstream.lightly import HOST, LOSS, kits

(KIT,) = kits()
INSTALLED = Path(lightly.__file__).parents[1]
CLONE = os.environ.get("LIGHTLY_CLONE")
needs_clone = pytest.mark.skipif(not CLONE, reason="LIGHTLY_CLONE names no clone of lightly")
RANGE = {"tau_min": 0.07, "tau_max": 0.3}


def module(path: Path) -> ModuleType:
    """Import a file by its path; it imports the rest of lightly as it is installed."""
    spec = importlib.util.spec_from_file_location("generated_ntx_ent_loss", path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The clone of the environment, or the installed losses among files that only look like it."""
    folder = tmp_path / "lightly"
    if CLONE:
        shutil.copytree(CLONE, folder, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    else:
        for path in (LOSS, "lightly/loss/__init__.py", HOST.version_file):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(INSTALLED / path, folder / path)
        fill(folder, KIT)
    return committed(folder)


@pytest.fixture
def generated(clone: Path) -> ModuleType:
    run([str(clone), "--to", "lightly"])
    return module(clone / LOSS)


def outcome(loss: Callable[[Tensor, Tensor], Tensor], z0: Tensor, z1: Tensor) -> list[Tensor]:
    """Loss of the second call (a memory bank has keys by then) and its gradients."""
    leaves = [z.clone().requires_grad_() for z in (z0, z1)]
    loss(*leaves)
    value = loss(*leaves)
    return [value, *torch.autograd.grad(value, leaves)]


def pair(loss: ModuleType, **kwargs: Any) -> tuple[nn.Module, nn.Module]:
    """The generated loss and ours, with equal memory banks."""
    temperature = partial(loss.dynamic_temperature, **RANGE)
    theirs = loss.NTXentLoss(temperature=temperature, **kwargs)
    ours = DynTempNTXentLoss(CosineTemperature(**RANGE), **kwargs)
    return theirs, ours


@pytest.mark.parametrize("batch", [1, 9])
def test_its_loss_and_gradients_are_ours(generated: ModuleType, batch: int) -> None:
    z0, z1 = torch.randn(2, batch, 8)
    theirs, ours = pair(generated)
    for one, other in zip(outcome(theirs, z0, z1), outcome(ours, z0, z1), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_with_a_memory_bank_they_are_ours(generated: ModuleType) -> None:
    query, *keys = torch.randn(4, 8, 16)
    theirs, ours = pair(generated, memory_bank_size=(24, 16))
    leaf = query.clone().requires_grad_()
    for key in (*keys, keys[0]):  # the last one meets a bank that holds nothing but our keys
        values = [loss(leaf, key) for loss in (theirs, ours)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(
        *(torch.autograd.grad(value, leaf)[0] for value in values), atol=1e-6, rtol=1e-4
    )


def test_one_training_step_is_ours(generated: ModuleType) -> None:
    views = torch.randn(2, 16, 12)
    weights = []
    for loss in pair(generated):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 8))
        optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1, momentum=0.9)
        loss(*(encoder(view) for view in views)).backward()
        optimizer.step()
        weights.append(torch.cat([weight.flatten() for weight in encoder.parameters()]))
    torch.testing.assert_close(*weights, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("memory_bank_size", [0, (24, 8)])
def test_a_number_gives_what_it_gave_to_the_last_bit(
    generated: ModuleType, memory_bank_size: Any
) -> None:
    z0, z1 = torch.randn(2, 9, 8)
    outcomes = []
    for loss in (module(Path(CLONE or INSTALLED) / LOSS), generated):
        torch.manual_seed(0)
        outcomes.append(outcome(loss.NTXentLoss(0.2, memory_bank_size), z0, z1))
    assert all(torch.equal(one, other) for one, other in zip(*outcomes, strict=True))


def test_a_learned_temperature_gets_its_gradient(generated: ModuleType) -> None:
    class Learned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = nn.Parameter(torch.tensor(-2.0))

        def forward(self, sim: Tensor) -> Tensor:
            return self.log.exp().expand_as(sim)

    loss = generated.NTXentLoss(temperature=Learned())
    loss(*torch.randn(2, 9, 8)).backward()
    assert all(parameter.grad.abs() > 0 for parameter in loss.parameters())


def two_processes(rank: int, file: str, generated: str) -> None:
    """In each of two processes: the local loss and gradient of both forms, gathered."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    z0, z1 = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0))[rank]
    theirs, ours = pair(module(Path(generated)), gather_distributed=True)
    for one, other in zip(outcome(theirs, z0, z1), outcome(ours, z0, z1), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.distributed
def test_on_two_processes_they_are_ours(clone: Path, tmp_path: Path) -> None:
    run([str(clone), "--to", "lightly"])
    words = (str(tmp_path / "meet"), str(clone / LOSS))
    # forked: a spawned process would take a package `tests` of solo-learn's clone for ours
    torch.multiprocessing.start_processes(two_processes, words, nprocs=2, start_method="fork")


@needs_clone
def test_ruff_with_lightlys_settings_finds_nothing(clone: Path) -> None:
    run([str(clone), "--to", "lightly"])
    files = [edit.path for edit in KIT.edits if edit.path.endswith(".py")]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, *files],
            cwd=clone,
            capture_output=True,
            text=True,
        )
        assert not done.returncode, done.stdout + done.stderr


@needs_clone
@pytest.mark.slow
def test_the_clones_own_tests_pass_with_ours_among_them(clone: Path) -> None:
    pytest.importorskip("pytest_mock")
    run([str(clone), "--to", "lightly"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *KIT.tests.split()],
        cwd=clone, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(clone), *filter(None, sys.path)])},
    )  # fmt: skip
    assert not done.returncode, done.stdout[-3000:]
    assert f"{KIT.tested.split()[0]} passed" in done.stdout
