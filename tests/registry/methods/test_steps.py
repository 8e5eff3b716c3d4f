"""Two optimizer steps of every method: what should move moves, the rest does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMomentumMethod
from solo_registry.metrics.online import classification
from solo_registry.runs.model import build_method

Make = Callable[..., DictConfig]
STEADY = (
    "optimizer.batch_size=16", "data.fraction=0.03", "scheduler.name=none", "max_epochs=1",
    "optimizer.weight_decay=0",  # so that only a gradient moves anything
)  # fmt: skip


def build(cfg: DictConfig) -> Any:
    return build_method(cfg, build_data(cfg))


def copies(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.each_kind
@pytest.mark.parametrize("backbone", ["resnet", "vit"])
def test_two_steps_move_what_should_move_and_nothing_else(
    small: Make, needs: Any, train: Any, method: str, backbone: str
) -> None:
    cfg = small(backbone, *STEADY, "momentum.base_tau=1", "momentum.final_tau=1")
    if backbone not in needs.backbones:
        with pytest.raises(UserError, match=r"needs|backbone"):
            build(resolve(cfg))
        return
    cfg = resolve(cfg)
    model = build(cfg)
    groups = model.learnable_params
    assert {"backbone", "classifier"} <= {group["name"] for group in groups}
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    assert {id(p) for p in model.parameters() if p.requires_grad} <= trained
    before = copies(model)
    losses = train(model, cfg, 2)
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert parameter.isfinite().all(), name
        if not parameter.requires_grad:  # frozen, or a moving average that m = 1 holds still
            assert not moved and parameter.grad is None, name
        elif name.startswith(needs.resting or ("-",)):
            assert not moved, name
        else:
            # a bias before BatchNorm has a gradient of 0: only matrices have to move
            assert parameter.grad is not None and (moved or parameter.ndim < 2), name


@pytest.mark.slow
@pytest.mark.each_kind("byol")
def test_moving_averages_follow_after_each_step(
    small: Make, train: Any, usual: str, method: str
) -> None:
    if not issubclass(METHODS.get(method), BaseMomentumMethod):
        return
    cfg = resolve(small(usual, *STEADY, "momentum.base_tau=0", "momentum.final_tau=0"))
    model = build(cfg)
    names = {name for name, _ in model.named_parameters() if name.startswith("momentum_")}
    twins = [twin for _, twin in model.momentum_pairs]
    assert sum(len(list(twin.parameters())) for twin in twins) == len(names)
    train(model, cfg, 1)
    for online, twin in model.momentum_pairs:
        for one, other in zip(online.parameters(), twin.parameters(), strict=True):
            assert torch.equal(one, other)  # m = 0


@pytest.mark.each_kind
def test_the_online_classifier_does_not_train_the_backbone(
    small: Make, build: Any, batch: Any, usual: str, method: str
) -> None:
    model = build(small(usual))
    _, images, targets = batch()
    out = model(images[0])
    classification(out["logits"], targets)["loss"].backward()
    assert model.classifier.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.backbone.parameters())
