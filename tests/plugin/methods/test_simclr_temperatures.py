"""The methods that are SimCLR with another temperature, under their own names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import solo_dyntemp.configs
import torch
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.runs.model import build_method

pytestmark = pytest.mark.slow

Tiny = Callable[..., DictConfig]
# of each source: the temperature, its range and its other values
SOURCES: dict[str, tuple[str, tuple[float | None, float | None], dict[str, float]]] = {
    "macl": ("macl", (0.01, None), {"tau": 0.1, "alpha": 0.5, "a0": 0.0}),
    "temperature_schedule": ("cosine_schedule", (0.1, 1.0), {"cycles": 5.0}),
    "isogclr": (
        "isogclr", (0.05, 0.7), {"tau": 0.1, "rho": 0.3, "gamma": 0.9, "eta": 0.01, "beta": 0.9}
    ),
    "dual_temperature": ("dual_temperature", (None, None), {"tau": 0.1, "ratio": 10.0}),
    "simclr_learnable": ("learnable", (0.01, 1.0), {"tau": 0.07}),
}  # fmt: skip


def build(cfg: DictConfig) -> Any:
    cfg = resolve(cfg)
    model = build_method(cfg, build_data(cfg))
    model.log = model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return model


def step(model: Any) -> torch.Tensor:
    images = torch.randn(2, 8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    indexes = torch.arange(8)
    loss: torch.Tensor = model.training_step((indexes, list(images), indexes), 0)
    loss.backward()
    return loss


@pytest.mark.parametrize("method", SOURCES)
def test_it_is_simclr_dyntemp_with_that_temperature(tiny: Tiny, method: str) -> None:
    temperature, (low, high), values = SOURCES[method]
    named = tiny(method)
    general = tiny("simclr_dyntemp", f"method_kwargs.temperature={temperature}")
    general.method_kwargs.temperature_kwargs = values
    if high is not None:
        general.method_kwargs.update(tau_min=low, tau_max=high)
    models = [build(named), build(general)]
    assert models[0].cfg.method_kwargs == models[1].cfg.method_kwargs
    losses = [step(model) for model in models]
    assert torch.equal(*losses)
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one.grad, other.grad) if one.grad is not None else other.grad is None


@pytest.mark.parametrize("method", SOURCES)
def test_the_yaml_has_the_values_of_its_source(tiny: Tiny, method: str) -> None:
    temperature, (low, high), values = SOURCES[method]
    folder = Path(solo_dyntemp.configs.__file__).parent / "method"
    written: Any = OmegaConf.load(folder / f"{method}.yaml")
    assert written.method_kwargs.temperature == temperature
    assert written.method_kwargs.temperature_kwargs == values
    cfg = resolve(tiny(method))
    cfg.method_kwargs = written.method_kwargs
    kwargs = build(cfg).cfg.method_kwargs
    if low is not None:
        assert kwargs.tau_min == low
    if high is not None:
        assert kwargs.tau_max == high


def test_another_temperature_under_the_name_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"'macl' is SimCLR with temperature 'macl', got 'cosine'"):
        resolve(tiny("macl", "method_kwargs.temperature=cosine"))


def test_a_solo_learn_yaml_with_one_temperature_still_runs(tiny: Tiny) -> None:
    with pytest.warns(UserWarning, match=r"temperature=0\.2 is not used"):
        assert resolve(tiny("macl", "method_kwargs.temperature=0.2")).method == "macl"
