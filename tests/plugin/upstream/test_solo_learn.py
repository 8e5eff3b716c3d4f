"""The pull requests on a clone of solo-learn 1.0.6; skipped visibly where there is none."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from tests.plugin.upstream.clones import committed, git
from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce, dyntemp_infonce_queue
from solo_dyntemp.temperature import CosineTemperature
from solo_dyntemp.upstream.changes import Kit, planned_changes
from solo_dyntemp.upstream.command import run
from solo_dyntemp.upstream.solo_learn import kits

ROOT = Path(__file__).parents[3]
SOLO = importlib.util.find_spec("solo")
KITS = {kit.feature: kit for kit in kits()}
MOST_LINES = {"temperature": 100, "simclr": 400, "mocov2plus": 400}
RANGE = (0.07, 0.3)

pytestmark = [
    pytest.mark.solo,
    pytest.mark.skipif(SOLO is None, reason="solo-learn is not on the path"),
    # solo-learn's own imports warn on the newest torch and timm
    pytest.mark.filterwarnings("ignore"),
]


def source() -> Path:
    assert SOLO and SOLO.origin
    return Path(SOLO.origin).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The solo-learn on the path as a repository of its own."""
    folder = tmp_path / "solo-learn"
    ignored = shutil.ignore_patterns(".git", "__pycache__", ".venv")
    shutil.copytree(source(), folder, ignore=ignored)
    return committed(folder)


@pytest.fixture
def generated(clone: Path, request: Any, monkeypatch: Any) -> Iterator[Path]:
    """The clone with a pull request, imported in place of the one on the path."""
    run([str(clone), "--feature", getattr(request, "param", "simclr")])
    ours = lambda name: name == "solo" or name.startswith("solo.")  # noqa: E731
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if ours(name)}
    monkeypatch.syspath_prepend(str(clone))
    assert str(clone) in str(importlib.import_module("solo.losses").__file__)
    yield clone
    for name in list(filter(ours, sys.modules)):
        del sys.modules[name]
    sys.modules.update(before)


feature = pytest.mark.parametrize("kit", KITS.values(), ids=KITS)


@feature
def test_it_is_small_enough_to_review(clone: Path, kit: Kit) -> None:
    lines = sum(change.size() for change in planned_changes(clone, kit))
    assert lines <= MOST_LINES[kit.feature]
    page = (ROOT / "docs/solo_learn.md").read_text(encoding="utf-8")
    assert re.search(rf"\| `{kit.feature}` \| .* \| {lines} \|", page)


@feature
def test_it_is_formatted_as_solo_learn_is(clone: Path, kit: Kit) -> None:
    def unformatted() -> set[str]:
        done = subprocess.run(
            [sys.executable, "-m", "black", "--check", "-l", "100", *files],
            cwd=clone, capture_output=True, text=True,
        )  # fmt: skip
        lines = done.stderr.splitlines()
        return {line for line in lines if line.startswith("would reformat")}

    paths = [change.path for change in planned_changes(clone, kit) if change.path[-3:] == ".py"]
    files = [path for path in paths if (clone / path).exists()]
    before = unformatted()
    run([str(clone), "--feature", kit.feature])
    files = paths
    assert unformatted() == before


def test_both_methods_merge_without_a_conflict(clone: Path) -> None:
    for name in ("simclr", "mocov2plus"):
        git(clone, "switch", "--quiet", "main")
        run([str(clone), "--feature", name])
    git(clone, "switch", "--quiet", "main")
    for name in ("simclr", "mocov2plus"):
        git(clone, "merge", "--quiet", "--no-edit", KITS[name].branch)
    before = git(clone, "log", "--all", "--format=%H %D")
    run([str(clone), "--feature", "simclr"])
    assert git(clone, "log", "--all", "--format=%H %D") == before
    methods = (clone / "solo/methods/__init__.py").read_text()
    assert '"simclr_dyntemp": SimCLRDynTemp' in methods
    assert '"mocov2plus_dyntemp": MoCoV2PlusDynTemp' in methods
    text = (clone / "solo/losses/__init__.py").read_text()
    assert text.count("dynamic_temperature") == 2


def compare_losses(z: Tensor, indexes: Tensor) -> None:
    """Ours and the generated one: equal value and gradient."""
    from solo.losses import dynamic_temperature, simclr_loss_func

    theirs = partial(dynamic_temperature, tau_min=RANGE[0], tau_max=RANGE[1])
    leaf, other = z.clone().requires_grad_(), z.clone().requires_grad_()
    loss = dyntemp_infonce(leaf, indexes, temperature=CosineTemperature(*RANGE))
    also = simclr_loss_func(other, indexes, theirs)
    loss.backward()
    also.backward()
    torch.testing.assert_close(loss, also)
    torch.testing.assert_close(leaf.grad, other.grad, atol=1e-6, rtol=1e-4)


def two_processes(rank: int, file: str) -> None:
    """In each of two processes: the local loss and gradient of both forms."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    z = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))[rank]
    compare_losses(z, torch.arange(6).repeat(2) + 6 * rank)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("views", [2, 3, 5])
def test_its_loss_and_gradient_are_ours(generated: Path, views: int) -> None:
    compare_losses(torch.randn(views * 9, 8), torch.arange(9).repeat(views))


@pytest.mark.distributed
def test_on_two_processes_they_are_ours(generated: Path, tmp_path: Path) -> None:
    # forked: a spawned process would take the clone's package `tests` for ours
    torch.multiprocessing.start_processes(
        two_processes, (str(tmp_path / "meet"),), nprocs=2, start_method="fork"
    )


@pytest.mark.parametrize("generated", ["mocov2plus"], indirect=True)
def test_its_queue_loss_and_gradient_are_ours(generated: Path) -> None:
    from solo.losses import dynamic_temperature, mocov2plus_loss_func

    query, key = F.normalize(torch.randn(2, 9, 8), dim=-1)
    queue = F.normalize(torch.randn(8, 40), dim=0)
    theirs = partial(dynamic_temperature, tau_min=RANGE[0], tau_max=RANGE[1])
    leaf, other = query.clone().requires_grad_(), query.clone().requires_grad_()
    unit, also_unit = F.normalize(leaf, dim=1), F.normalize(other, dim=1)  # as the method's step
    loss = dyntemp_infonce_queue(unit, key, queue, temperature=CosineTemperature(*RANGE))
    also = mocov2plus_loss_func(also_unit, key, queue, theirs)
    loss.backward()
    also.backward()
    torch.testing.assert_close(loss, also)
    torch.testing.assert_close(leaf.grad, other.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("generated", "name"), [("simclr", "simclr"), ("mocov2plus", "mocov2plus")],
    indirect=["generated"],
)  # fmt: skip
def test_a_number_gives_what_it_gave_to_the_last_bit(generated: Path, name: str) -> None:
    def outcome(folder: Path) -> list[Tensor]:
        path = folder / f"solo/losses/{name}.py"
        spec = importlib.util.spec_from_file_location("loss", path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        leaf = z.clone().requires_grad_()
        more = (torch.arange(9).repeat(2),) if name == "simclr" else (z.flip(0), queue)
        loss = getattr(module, f"{name}_loss_func")(leaf, *more, 0.2)
        return [loss, *torch.autograd.grad(loss, leaf)]

    z, queue = F.normalize(torch.randn(18, 8), dim=1), F.normalize(torch.randn(8, 40), dim=0)
    pairs = zip(outcome(source()), outcome(generated), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def config(method: str) -> Any:
    kwargs = {"proj_hidden_dim": 16, "proj_output_dim": 8, "tau_min": 0.07, "tau_max": 0.3}
    if method.startswith("mocov2plus"):
        kwargs["queue_size"] = 32
    return OmegaConf.create(
        {
            "method": method, "method_kwargs": kwargs,
            "backbone": {"name": "resnet18", "kwargs": {}},
            "data": {"dataset": "cifar10", "num_classes": 10, "num_large_crops": 2,
                     "num_small_crops": 0},
            "optimizer": {"name": "sgd", "batch_size": 8, "lr": 0.1, "classifier_lr": 0.1,
                          "weight_decay": 0.0},
            "scheduler": {"name": "none"}, "momentum": {"base_tau": 0.99, "final_tau": 1.0},
            "accelerator": "cpu", "max_epochs": 2, "devices": 1, "num_nodes": 1,
        }
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("generated", ["simclr", "mocov2plus"], indirect=True)
def test_its_first_training_step_is_ours(generated: Path, request: Any) -> None:
    from solo_dyntemp.hosts.solo_learn import _bound

    name = f"{request.node.callspec.params['generated']}_dyntemp"
    base = importlib.import_module("solo.methods.base")
    classes = [importlib.import_module("solo.methods").METHODS[name], _bound(base)[name]]
    assert classes[0].__module__ == f"solo.methods.{name}"
    batch = [torch.arange(8), list(torch.randn(2, 8, 3, 32, 32)), torch.arange(8)]
    losses, weights, state = [], [], None
    for cls in classes:
        torch.manual_seed(0)
        model = cls(config(name))
        model.log = model.log_dict = lambda *_, **__: None
        # the queue's keys have another name here, and both begin at its first place
        state = state or {
            key.replace("queue", "queue.keys"): value.clone()
            for key, value in model.state_dict().items()
            if key != "queue_ptr"
        }
        if cls is not classes[0]:
            kept = model.load_state_dict(state, strict=False)
            assert not kept.unexpected_keys and set(kept.missing_keys) <= {"queue.position"}
        loss = model.training_step(batch, 0)
        loss.backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        losses.append(loss.detach())
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*weights, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.nightly  # a minute each
@feature
def test_the_clones_own_tests_pass_with_ours_among_them(clone: Path, kit: Kit) -> None:
    run([str(clone), "--feature", kit.feature])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *kit.tests.split()],
        cwd=clone, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(clone), *filter(None, sys.path)])},
    )  # fmt: skip
    assert not done.returncode, done.stdout[-3000:]
    assert f"{kit.tested.split()[0]} passed" in done.stdout
