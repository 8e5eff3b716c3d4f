"""A batch forwarded in parts has the gradient of the whole batch (GradCache, arXiv 2101.06983)."""

from __future__ import annotations

import platform
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.methods.parts import micro_batches
from solo_registry.methods.parts.micro_batches import in_micro_batches
from solo_registry.verify_ddp import LinearBackbone, one_step, small_config, verify_ddp

Make = Callable[..., DictConfig]
Tiny = Callable[..., DictConfig]
DROPS = ("backbone.kwargs.proj_drop_rate=0.3", "backbone.kwargs.drop_path_rate=0.3")
FOUR = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 2}]


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def far(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Return the largest difference, as a share of the largest element."""
    assert one.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in one.values())
    return max(float((one[name] - other[name]).abs().max()) for name in one) / largest


def test_micro_batches_have_the_gradient_of_the_batch(small: Make, usual: str, method: str) -> None:
    if method == "mae":
        pytest.skip("draws a mask for each forward pass")
    several = METHODS.get(method).MULTICROP and not METHODS.get(method).TWO_VIEWS
    given = small(usual, **({"augmentations": FOUR} if several else {}))
    cfg = small_config(given, 2, 4)
    whole = one_step(cfg, range(8))
    for size in (4, 3):  # the last part may be smaller
        cfg.optimizer.micro_batch_size = size
        assert far(whole, one_step(cfg, range(8))) < 1e-12


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    [
        f"{name}{suffix}"
        for name in ("simclr", "mocov2plus", "dcl", "dclw", "mocov3", "nnclr", "supcon")
        for suffix in ("", "_dyntemp")
    ],
)
def test_it_is_so_at_4096_images(tiny: Tiny, name: str) -> None:
    cfg = small_config(tiny(name), 2, 2048)
    whole = one_step(cfg, range(4096))
    cfg.optimizer.micro_batch_size = 256
    parts = one_step(cfg, range(4096))
    assert max(float((whole[key] - parts[key]).abs().max()) for key in whole) < 1e-6
    assert far(whole, parts) < 1e-6


def in_turn(forward: Any, part: Tensor, **_: Any) -> Any:
    """Stand in for `checkpoint`: keep all activations, so that nothing is forwarded again."""
    return forward(part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backbone", "words"),
    [
        ("simclr_dyntemp", "resnet", ()),
        ("simclr", "vit", DROPS),
        ("byol", "resnet", ()),
        ("mae", "vit", ()),
        ("mocov2plus", "resnet", ("momentum.classifier=true", "method_kwargs.queue_size=16")),
        ("vibcreg", "resnet", ()),
    ],
)
def test_the_second_forward_pass_repeats_the_draws_and_moves_no_statistics(
    small_of: Callable[[str], Make],
    build: Callable[[DictConfig], Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    backbone: str,
    words: tuple[str, ...],
) -> None:
    sizes = ("optimizer.batch_size=8", "optimizer.micro_batch_size=4")
    given: Any = OmegaConf.merge(small_of(name)(backbone), OmegaConf.from_dotlist([*words, *sizes]))
    images = torch.randn(2, 8, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    batch = torch.arange(8), list(images), torch.arange(8) % 4

    def step() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        torch.manual_seed(0)
        model = build(given.copy()).double()
        torch.manual_seed(1)
        found = gradients(model, model.training_step(batch, 0))
        return found, dict(model.named_buffers())

    cached, buffers = step()
    with monkeypatch.context() as patch:
        patch.setattr(micro_batches, "checkpoint", in_turn)
        plain, expected = step()
    assert far(plain, cached) < 1e-12
    for key, value in buffers.items():
        assert torch.equal(value, expected[key]), key


def test_one_part_is_in_memory_at_a_time() -> None:
    """Of the first layer's outputs none outlives the forward pass, and one the backward pass."""
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    kept: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(module: nn.Module, given: Any, out: Tensor) -> None:
        alive.append(sum(ref() is not None for ref in kept))
        kept.append(weakref.ref(out))

    network[0].register_forward_hook(note)
    z = in_micro_batches(network, lambda x: {"z": network(x)}, torch.randn(12, 4), 2)["z"]
    assert len(kept) == 6 and not any(ref() is not None for ref in kept)
    (z @ z.T).logsumexp(1).mean().backward()
    assert len(kept) == 12 and max(alive) <= 1


def test_sixteen_bits_do_not_sum_over_the_parts() -> None:
    """Parts that share one 16-bit copy of a weight would sum its gradient in 16 bits."""
    torch.manual_seed(0)
    network, X = nn.Linear(8, 8), torch.randn(512, 8).abs()

    def gradient(size: int | None, exact: bool = False) -> Tensor:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            z = in_micro_batches(network, lambda x: {"z": network(x)}, X, size)["z"]
        z.float().square().mean().backward()
        assert network.weight.grad is not None
        return network.weight.grad.clone()

    true = gradient(None, exact=True)
    whole, parts = ((gradient(size) - true).norm() / true.norm() for size in (None, 1))
    assert parts < 2 * whole


def test_micro_batches_that_do_not_fit_are_refused(tiny: Tiny) -> None:
    for size, near in ((100, 64), (256, 128)):
        message = f"micro_batch_size={size} must divide optimizer.batch_size=128: {near} does"
        with pytest.raises(UserError, match=message):
            resolve(tiny("simclr", f"optimizer.micro_batch_size={size}"))
    both = ("optimizer.micro_batch_size=64", "sync_batchnorm=true", "devices=2")
    with pytest.raises(UserError, match="sync_batchnorm=true exchanges statistics"):
        resolve(tiny("simclr", *both))


@pytest.mark.nightly
@pytest.mark.distributed
def test_two_processes_in_micro_batches_get_the_gradient_of_one_batch(tiny: Tiny) -> None:
    for name in ("simclr_dyntemp", "mocov2plus"):
        found = verify_ddp(tiny(name, "optimizer.micro_batch_size=32"), processes=2, images=4)
        assert found.scale > 1e-4 and found.error < 1e-9 * found.scale


def test_the_linear_backbone_is_forwarded_twice() -> None:
    """Guards the tests above: with parts, each image is really forwarded a second time."""
    network, rows = LinearBackbone(in_channels=1, image_size=2), []
    network.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    X = torch.randn(6, 1, 2, 2)
    in_micro_batches(network, lambda x: {"z": network(x)}, X, 4)["z"].sum().backward()
    assert rows == [4, 2, 2, 4]


FREED = """
import resource, torch
from pathlib import Path
from solo_registry.methods.parts.micro_batches import return_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

large, small = [], []
for _ in range(2000):  # a small one after each keeps the large ones from being one free piece
    large.append(torch.ones(16_000))
    small.append(torch.ones(16))
del large
before = resident()
return_memory()
print(before - resident())
assert all(bool(each.eq(1).all()) for each in small)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_returns_to_the_system() -> None:
    """In a process of its own, since a heap with holes would not put the tensors in a row."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 64e6  # of 128e6
