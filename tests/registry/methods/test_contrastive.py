"""What is particular to the contrastive methods beyond solo-learn's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.errors import UserError

Tiny = Callable[..., DictConfig]


@pytest.mark.parametrize(
    ("name", "override", "text"),
    [
        ("debiased", "tau_plus=1", r"tau_plus must be in \[0, 1\), got 1"),
        ("debiased", "tau_plus=-0.1", r"tau_plus must be in \[0, 1\)"),
        ("hcl", "beta=-1", "beta must be 0 or more and finite"),
        ("rince", "q=1.5", r"q must be in \(0, 1\], got 1\.5"),
        ("rince", "lambda_param=2", r"lambda_param must be in \(0, 1\]"),
        ("rince", "temperature=0.001", "keep q / temperature up to 80"),
        ("directclr", "loss_dim=17", "from 1 to the backbone's 16 features, got 17"),
    ],
)
def test_values_out_of_range_are_refused(
    tiny: Tiny, build: Any, name: str, override: str, text: str
) -> None:
    with pytest.raises(UserError, match=text):
        build(tiny(name, f"method_kwargs.{override}"))


@pytest.mark.parametrize("name", ["debiased", "hcl"])
def test_without_correction_the_step_is_simclrs(
    tiny: Tiny, build: Any, batch: Any, name: str
) -> None:
    words = ["method_kwargs.temperature=0.3", "method_kwargs.tau_plus=0"]
    if name == "hcl":
        words.append("method_kwargs.beta=0")
    losses = [
        build(tiny(*arguments)).training_step(batch(), 0)
        for arguments in ((name, *words), ("simclr", words[0]))
    ]
    torch.testing.assert_close(*losses)


def test_siglip_trains_scale_and_bias_without_weight_decay(
    tiny: Tiny, build: Any, batch: Any
) -> None:
    model = build(tiny("siglip", "method_kwargs.bias=-5"))
    assert model.log_scale.item() == pytest.approx(math.log(10))
    assert model.bias.item() == -5
    group = model.learnable_params[-1]
    assert group["weight_decay"] == 0
    assert [id(p) for p in group["params"]] == [id(model.log_scale), id(model.bias)]
    s = torch.tensor([-1.0, 0.5])
    assert model.temperature_curve(s).tolist() == pytest.approx([0.1, 0.1])
    model.log_scale.data.fill_(0.0)
    assert model.temperature_curve(s).tolist() == [1.0, 1.0]


def test_directclr_has_no_head_and_looks_at_the_first_features(
    tiny: Tiny, build: Any, batch: Any
) -> None:
    model = build(tiny("directclr", "method_kwargs.loss_dim=5"))
    assert [group["name"] for group in model.learnable_params] == ["backbone", "classifier"]
    _, images, _ = batch()
    out = model(images[0])
    assert torch.equal(out["z"], out["feats"][:, :5])
    assert build(tiny("directclr")).projector.count == round(360 / 2048 * 16)
