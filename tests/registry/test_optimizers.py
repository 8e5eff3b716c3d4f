from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from solo_registry import optimizers
from solo_registry.config.keys import keys_of
from solo_registry.config.schema import OptimizerConfig
from solo_registry.errors import UserError
from solo_registry.optimizers import build_optimizer, build_schedule, warmup_cosine


def config(name: str, **kwargs: Any) -> Any:
    return OmegaConf.create(
        {
            "optimizer": {
                "name": name,
                "effective_lr": 0.5,
                "weight_decay": 0.1,
                "exclude_bias_n_norm_wd": kwargs.pop("exclude_bias_n_norm_wd", False),
                "kwargs": kwargs,
            },
            "scheduler": {
                "name": "warmup_cosine",
                "warmup_epochs": 2,
                "warmup_start_lr": 1e-3,
                "min_lr": 0.01,
                "interval": "step",
                "lr_decay_steps": [1],
            },
            "max_epochs": 10,
        }
    )


@pytest.mark.parametrize("name", keys_of(OptimizerConfig)[0].declared.choices)
def test_every_optimizer_moves_the_weights(name: str) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer([{"name": "fc", "params": layer.parameters()}], config(name))
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, layer.weight)
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("clip", [True, False])
def test_lars_follows_its_formula_and_leaves_vectors_alone(clip: bool) -> None:
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.bias, 2.0)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    settings = config("lars", eta=0.02, clip_lr=clip, exclude_bias_n_norm=True)
    optimizer = build_optimizer([{"name": "fc", "params": layer.parameters()}], settings)
    layer(torch.tensor([[1.0, 2.0, 3.0]])).square().sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None
    gradient, bias_gradient = layer.weight.grad.clone(), layer.bias.grad.clone()
    optimizer.step()
    trust = 0.02 * weight.norm() / (gradient.norm() + 0.1 * weight.norm())
    if clip:
        trust = min(trust / 0.5, torch.tensor(1.0))
    expected = weight - 0.5 * trust * (gradient + 0.1 * weight)
    torch.testing.assert_close(layer.weight.detach(), expected)
    torch.testing.assert_close(layer.bias.detach(), bias - 0.5 * bias_gradient)


def test_biases_and_norms_can_go_without_weight_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    groups = [{"name": "all", "params": model.parameters()}]
    optimizer = build_optimizer(groups, config("sgd", exclude_bias_n_norm_wd=True))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for parameter in model.parameters():
        assert decay[id(parameter)] == (0.1 if parameter.ndim > 1 else 0)


def test_wrong_keyword_arguments_are_named() -> None:
    with pytest.raises(UserError, match=r"do not fit optimizer.name=adamw.*momentum"):
        build_optimizer([{"params": [nn.Parameter(torch.ones(1))]}], config("adamw", momentum=0.9))


def test_warmup_cosine_meets_start_peak_and_end_and_is_continuous() -> None:
    rates = [warmup_cosine(s, peak=1, warmup=10, total=100, start=0.1, end=0.2) for s in range(101)]
    assert rates[0] == 0.1 and rates[10] == 1 and rates[100] == pytest.approx(0.2)
    assert max(abs(a - b) for a, b in itertools.pairwise(rates)) < 0.1
    assert warmup_cosine(5, peak=1, warmup=0, total=5) == 0


def test_schedule_moves_all_groups_but_static_ones() -> None:
    params = [nn.Parameter(torch.ones(1)) for _ in range(3)]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(params, (0.5, 0.05, 0.5), strict=True)]
    optimizer = torch.optim.SGD(groups)
    schedule = build_schedule(optimizer, [False, False, True], config("sgd"), total_steps=50)
    assert schedule is not None and schedule["interval"] == "step"
    seen = []
    for _ in range(50):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule["scheduler"].step()
    assert seen[0] == pytest.approx([1e-3, 1e-3, 0.5])
    assert seen[10] == pytest.approx([0.5, 0.05, 0.5])  # 2 of 10 epochs are warm-up
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.01, 0.5])


def test_step_and_none_schedules() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    settings = config("sgd")
    settings.scheduler.name = "none"
    assert build_schedule(optimizer, [False], settings, 10) is None
    settings.scheduler.name = "step"
    schedule = build_schedule(optimizer, [False], settings, 10)
    assert schedule is not None and schedule["interval"] == "epoch"
    optimizer.step()
    schedule["scheduler"].step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("sgd", {"momentum": "0.9"}, "kwargs.momentum must be of type number, got '0.9'"),
        ("sgd", {"momentum": float("nan")}, "kwargs.momentum must be finite, got nan"),
        ("sgd", {"momentum": -1}, "kwargs do not fit optimizer.name=sgd: Invalid momentum"),
        ("sgd", {"nesterov": "abc"}, "kwargs.nesterov must be of type true or false, got 'abc'"),
        ("sgd", {"eta": "abc"}, "kwargs.eta must be of type number, got 'abc'"),
        ("lars", {"eta": "abc"}, "kwargs.eta must be of type number, got 'abc'"),
        ("lars", {"clip_lr": 3}, "kwargs.clip_lr must be of type true or false, got 3"),
        ("adamw", {"betas": "abc"}, "kwargs.betas must be of type number list, got 'abc'"),
        ("adamw", {"betas": [5, 5]}, "kwargs do not fit optimizer.name=adamw: Invalid beta"),
        ("adamw", {"betas": [0.9]}, "kwargs do not fit optimizer.name=adamw"),
        ("adam", {"beta": 1}, "kwargs do not fit optimizer.name=adam: .*beta"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    name: str, kwargs: dict[str, Any], message: str
) -> None:
    groups = [{"name": "all", "params": list(nn.Linear(2, 2).parameters())}]
    with pytest.raises(UserError, match=f"optimizer.{message}"):
        build_optimizer(groups, config(name, **kwargs))


@pytest.mark.parametrize(
    ("precision", "kwargs", "fused"),
    [
        (32, {}, True), ("bf16-mixed", {}, True), ("16-mixed", {}, False),
        (32, {"foreach": True}, None), (32, {"fused": False}, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_on_a_gpu_one_kernel_moves_all_weights(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: Any, kwargs: Any, fused: bool | None
) -> None:
    layer = nn.Linear(2, 3)
    cfg = config(name, **kwargs)
    cfg.precision = precision

    def built() -> Any:
        return build_optimizer([{"name": "fc", "params": layer.parameters()}], cfg).defaults

    assert built()["fused"] is kwargs.get("fused")  # on a CPU as PyTorch has it
    monkeypatch.setattr(optimizers, "on_gpu", lambda groups: True)
    assert built()["fused"] is fused
