from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.online import classification
from solo_registry.runs.model import build_method

Tiny = Callable[..., DictConfig]
VARIED = ["dcl", "dclw", "mocov2plus", "mocov3", "nnclr", "simclr", "supcon"]  # have a *_dyntemp


def make(cfg: DictConfig) -> Any:
    cfg = resolve(cfg)
    model = build_method(cfg, build_data(cfg))
    model.log = model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return model


def batch(count: int = 8, views: int = 2, size: int = 8) -> Any:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(count, 1, size, size, generator=generator) for _ in range(views)]
    return torch.arange(count), images, torch.arange(count) % 10


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIED)
def test_equal_taus_make_dyntemp_the_same_step_as_the_baseline(tiny: Tiny, name: str) -> None:
    fixed = make(tiny(name, "method_kwargs.temperature=0.15"))
    equal = ("method_kwargs.tau_min=0.15", "method_kwargs.tau_max=0.15")
    dynamic = make(tiny(f"{name}_dyntemp", *equal))
    indexes, images, targets = batch()
    exact = (indexes, [view.double() for view in images], targets)
    losses = [model.double().training_step(exact, 0) for model in (fixed, dynamic)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-7)
    for loss in losses:
        loss.backward()
    for (name, one), (_, other) in zip(
        fixed.named_parameters(), dynamic.named_parameters(), strict=True
    ):
        if one.grad is None:
            assert other.grad is None, name
        else:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-7)
    for one, other in zip(fixed.buffers(), dynamic.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_detaching_changes_the_gradient_but_not_the_value(tiny: Tiny) -> None:
    models = [
        make(tiny("simclr_dyntemp", f"method_kwargs.detach_temperature={flag}"))
        for flag in ("true", "false")
    ]
    losses = [model.training_step(batch(), 0) for model in models]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
    for loss in losses:
        loss.backward()
    weights = [model.projector[2].weight.grad for model in models]
    assert not torch.allclose(*weights, rtol=1e-2)


def test_moco_queue_takes_the_keys_in_turn_and_wraps(tiny: Tiny) -> None:
    model = make(tiny("mocov2plus", "method_kwargs.queue_size=16", "optimizer.batch_size=8"))
    queue = model.queue
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(2, 16), atol=1e-5)
    keys = [torch.full((8, 8), float(value)) for value in range(6)]
    for start in (0, 2, 4):
        queue.enqueue(keys[start], keys[start + 1])
    assert (queue.keys[0, :, :8] == 4).all() and (queue.keys[1, :, :8] == 5).all()
    assert (queue.keys[0, :, 8:] == 2).all() and int(queue.position) == 8
    with pytest.raises(ValueError, match="queue_size 16 is not divisible by the global batch of 5"):
        queue.enqueue(keys[0][:5], keys[1][:5])


def test_moco_queue_is_as_large_as_the_data_allow(tiny: Tiny) -> None:
    model = make(tiny("mocov2plus", "method_kwargs.queue_size=null"))
    assert model.queue.keys.shape[2] == 640  # 5 batches of 128 are the most in half of 1,437


def test_nnclr_positives_are_the_queues_nearest_keys(tiny: Tiny) -> None:
    model = make(tiny("nnclr", "optimizer.batch_size=8", "method_kwargs.queue_size=32"))
    z = torch.nn.functional.normalize(torch.randn(6, 8), dim=1)
    keys = model.queue.keys[0].T
    for row, found in zip(z, model.queue.nearest(z), strict=True):
        assert torch.equal(found, max(keys, key=lambda key: float(row @ key)))


def test_supcon_compares_classes_and_refuses_images_without(tiny: Tiny) -> None:
    model = make(tiny("supcon"))
    indexes, images, targets = batch()
    assert torch.equal(model.groups((indexes, images, targets)), targets)
    with pytest.raises(ValueError, match="needs a label for every image"):
        model.groups((indexes, images, torch.full_like(targets, -1)))
    with pytest.raises(ValueError, match=r"data\.no_labels is true"):
        resolve(tiny("supcon", "data.no_labels=true"))


def test_unlabelled_rows_leave_the_online_loss_alone() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    none = classification(logits, torch.full((4,), -1))
    assert none["loss"].item() == 0 and none["acc1"].item() == 0
    some = classification(logits, torch.tensor([0, -1, 2, -1]))
    labelled = classification(logits[[0, 2]], torch.tensor([0, 2]))
    assert some["loss"].item() == pytest.approx(labelled["loss"].item())
    assert some["acc1"].item() == labelled["acc1"].item()


def test_temperature_curve_is_what_the_method_uses(tiny: Tiny) -> None:
    s = torch.tensor([-1.0, 0.0, 1.0])
    assert make(tiny("simclr")).temperature_curve(s).tolist() == pytest.approx([0.2] * 3)
    curve = make(tiny("simclr_dyntemp")).temperature_curve(s)
    assert curve.tolist() == pytest.approx([0.2, 0.1, 0.2])
    assert BaseMethod.temperature_curve(make(tiny("simclr")), s) is None
