"""The temperature family inside methods: every name trains, and its state is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_dyntemp.temperature import LearnableTemperature
from solo_registry.catalog.registry import METHODS, TEMPERATURES
from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import build_method, read_checkpoint

Tiny = Callable[..., DictConfig]
NAMES = [
    "adnce", "arctanh", "class_frequency", "constant", "cosine", "cosine_schedule",
    "dual_constant", "dual_temperature", "exponential", "glofnd", "inverted_cosine", "isogclr",
    "learnable", "linear", "macl", "mm_ts", "monotone_cosine", "rgcl_g", "same_class",
    "shifted_cosine", "shuffled", "spline", "stabilised", "temo", "tempnet",
    "uncertainty",
]  # fmt: skip
DYNAMIC = [
    "dcl_dyntemp", "dclw_dyntemp", "mocov2plus_dyntemp", "mocov3_dyntemp", "nnclr_dyntemp",
    "simclr_dyntemp", "supcon_dyntemp",
]  # fmt: skip
# `make test`: every temperature without and with a queue, and the cosine in every form
SHOWN, LATER = ("simclr_dyntemp", "mocov2plus_dyntemp"), pytest.mark.nightly
# what a form cannot have: an output of the head for the temperature, the labels of a queue's keys
LACKING = {
    ("mocov2plus_dyntemp", "same_class"): "keeps none in its queue",
    **{(method, "uncertainty"): "an output of the head"
       for method in ("mocov2plus_dyntemp", "mocov3_dyntemp", "nnclr_dyntemp")},
}  # fmt: skip


def make(cfg: DictConfig) -> Any:
    cfg = resolve(cfg)
    data = build_data(cfg)
    model: Any = build_method(cfg, data)
    model.temperature.use_labels(data.train_set.targets)
    model.log = model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return model


def extra(name: str) -> list[str]:
    return ["method_kwargs.temperature_kwargs.tau=0.15"] if name == "constant" else []


def test_the_parameterised_list_is_the_whole_registry() -> None:
    assert TEMPERATURES.names() == NAMES
    assert METHODS.names("*_dyntemp") == DYNAMIC


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "name"),
    [
        pytest.param(method, name, marks=() if name == "cosine" or method in SHOWN else LATER)
        for method in DYNAMIC
        for name in NAMES
        if (method, name) not in LACKING
    ],
)
def test_every_temperature_trains_in_every_form(tiny: Tiny, method: str, name: str) -> None:
    model = make(tiny(method, f"method_kwargs.temperature={name}", *extra(name)))
    indexes = torch.arange(8)
    images = [torch.randn(8, 1, 8, 8) for _ in range(2)]
    loss = model.training_step((indexes, images, indexes % 4), 0)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all()
               for group in model.learnable_params for p in group["params"])  # fmt: skip


@pytest.mark.parametrize(("method", "name"), LACKING)
def test_a_form_that_lacks_what_a_temperature_reads_is_refused(
    tiny: Tiny, method: str, name: str
) -> None:
    with pytest.raises(UserError, match=rf"temperature={name} .*{LACKING[method, name]}"):
        resolve(tiny(method, f"method_kwargs.temperature={name}"))


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in DYNAMIC if name != "supcon_dyntemp"])
def test_the_implementation_reaches_the_loss(tiny: Tiny, method: str) -> None:
    batch = (torch.arange(8), [torch.randn(8, 1, 8, 8) for _ in range(2)], torch.arange(8) % 4)
    losses = []
    for name in ("dense", "tiled"):
        torch.manual_seed(0)
        model = make(tiny(method, f"method_kwargs.implementation={name}"))
        losses.append(model.training_step(batch, 0))
    torch.testing.assert_close(*losses)
    with pytest.raises(UserError, match=r"triton needs an NVIDIA GPU, got accelerator=cpu"):
        resolve(tiny(method, "method_kwargs.implementation=triton"))
    with pytest.raises(UserError, match=r"is 'tile'\. Did you mean 'tiled'"):
        resolve(tiny(method, "method_kwargs.implementation=tile"))


def test_null_taus_take_the_temperatures_own_and_are_written_down(tiny: Tiny) -> None:
    kwargs = resolve(tiny("simclr_dyntemp")).method_kwargs
    assert (kwargs.tau_min, kwargs.tau_max) == (0.1, 0.2)
    wide = resolve(tiny("simclr_dyntemp", "method_kwargs.temperature=cosine_schedule"))
    assert (wide.method_kwargs.tau_min, wide.method_kwargs.tau_max) == (0.1, 1.0)
    given = resolve(tiny("simclr_dyntemp", "method_kwargs.tau_max=0.3")).method_kwargs
    assert (given.tau_min, given.tau_max) == (0.1, 0.3)


def test_a_learnable_temperature_is_trained_without_weight_decay(tiny: Tiny) -> None:
    model = make(tiny("simclr_dyntemp", "method_kwargs.temperature=learnable"))
    group = model.learnable_params[-1]
    assert group["name"] == "temperature" and group["weight_decay"] == 0
    assert [id(p) for p in group["params"]] == [id(model.temperature.log_scale)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["learnable", "isogclr", "cosine_schedule"])
def test_a_temperatures_state_is_in_the_checkpoint(tiny: Tiny, name: str) -> None:
    given = tiny(
        "simclr_dyntemp", f"method_kwargs.temperature={name}", "evaluation.enabled=false",
        "max_epochs=1",
    )  # fmt: skip
    run = pretrain(given)
    state = read_checkpoint(run.checkpoint)["state_dict"]
    fresh = make(given)
    if name == "learnable":
        assert isinstance(fresh.temperature, LearnableTemperature)
        assert state["temperature.log_scale"] != fresh.temperature.log_scale
    elif name == "isogclr":
        assert len(state["temperature.tau"]) == 1437
        assert (state["temperature.tau"] != fresh.temperature.tau).sum() > 1000
    else:
        progress = state["temperature._extra_state"]["progress"]
        assert progress == pytest.approx(10 / 11)  # the last of 11 steps began there
    fresh.load_state_dict(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["glofnd", *(pytest.param(name, marks=LATER)
                 for name in ("isogclr", "learnable", "mm_ts", "rgcl_g", "spline", "tempnet"))],
)  # fmt: skip
def test_a_resumed_run_has_the_temperatures_state_bit_by_bit(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    words = [
        f"method_kwargs.temperature={name}", "evaluation.enabled=false", "max_epochs=3",
        "checkpoint.keep_prev=true", "optimizer.batch_size=32", "data.fraction=0.06",
    ]  # fmt: skip
    if name == "glofnd":
        words += ["method_kwargs.temperature_kwargs.start=0.4"]
    whole = pretrain(tiny("simclr_dyntemp", *words))
    first = whole.checkpoint.with_name("epoch-1.ckpt")
    torch.manual_seed(1234)  # what ran before must not matter
    again = [f"runs_dir={tmp_path}/again", f"resume_from_checkpoint={first}"]
    resumed = pretrain(tiny("simclr_dyntemp", *words, *again))
    states = [read_checkpoint(run.checkpoint)["state_dict"] for run in (whole, resumed)]
    own = [key for key in states[0] if key.startswith("temperature.")]
    assert all(torch.equal(states[0][key], states[1][key])
               for key in own if isinstance(states[0][key], torch.Tensor))  # fmt: skip
    assert own or name == "mm_ts"
    assert whole.metrics.read_text() == resumed.metrics.read_text()
