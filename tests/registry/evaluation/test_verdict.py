"""When a run says that it did not learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.evaluation.verdict import last_loss, verdict
from solo_registry.runs.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
GENERATOR = torch.Generator().manual_seed(0)


def rows(before: float, after: float, key: str = "knn_acc1") -> dict[str, dict[str, float]]:
    return {"untrained": {key: before}, "trained": {key: after}}


def test_a_run_that_learned_says_nothing() -> None:
    assert verdict(rows(20, 80), 1000, 2.0, math.log(127)) == []
    assert verdict({"trained": {}}, 10, None, None) == []


@pytest.mark.parametrize("key", ["knn_acc1", "linear_acc1"])
@pytest.mark.parametrize("after", [50, 49.9])
def test_a_backbone_no_better_than_the_untrained_one_did_not_learn(key: str, after: float) -> None:
    (line,) = verdict(rows(50, after, key), 10_000, None, None)
    assert line.startswith("The run did not learn") and "max_epochs" in line


def test_a_loss_near_chance_did_not_learn() -> None:
    """The numbers of the issue: chance is ln 89."""
    (line,) = verdict(rows(20, 90), 1000, 4.48, math.log(89))
    assert "4.48" in line and "4.49" in line


def test_too_few_images_cannot_tell() -> None:
    (line,) = verdict(rows(40, 50), 12, None, None)
    assert line.startswith("12 test images are too few")


N, D = 16, 20_000  # images; the cosines of random z of so many dimensions are near 0
CHANCE = {
    "simclr": math.log(2 * N - 1),
    "simclr_dyntemp": math.log(2 * N - 1),
    "debiased": math.log(2 * N - 1),
    "hcl": math.log(2 * N - 1),
    "supcon_out": math.log(2 * N - 1),
    "dcl": math.log(2 * N - 2),
    "dcl_dyntemp": math.log(2 * N - 2),
    "mocov2plus": math.log(48 + 1),
    "mocov2plus_dyntemp": math.log(48 + 1),
    "nnclr": math.log(N),
    "nnclr_dyntemp": math.log(N),
    "mocov3": 2 * 2 * 0.2 * math.log(N),
    "mocov3_dyntemp": 2 * 2 * 0.2 * math.log(N),
}


def built(tiny: Tiny, method: str) -> Any:
    words = [f"optimizer.batch_size={N}", "method_kwargs.proj_output_dim=8"]
    if method.startswith(("mocov2", "nnclr")):
        words.append("method_kwargs.queue_size=48")
    cfg = resolve(tiny(method, *words))
    cfg.data.num_classes, cfg.data.image_channels, cfg.data.train_images = 10, 1, 100
    return METHODS.get(method)(cfg)


@pytest.mark.parametrize("method", CHANCE)
def test_chance_is_the_loss_of_random_z(tiny: Tiny, method: str) -> None:
    model = built(tiny, method)
    z1, z2, queue = (torch.randn(rows, D, generator=GENERATOR) for rows in (N, N, 48))
    indexes, kind = torch.arange(N), method.partition("_")[0]
    if kind == "mocov2plus":
        loss = model.contrastive_loss(z1, z2, F.normalize(queue).T, indexes)
    elif kind in ("mocov3", "nnclr"):
        loss = model.contrastive_loss(z1, z2, indexes) * (2 if kind == "mocov3" else 1)
    else:
        loss = model.contrastive_loss(torch.cat([z1, z2]), indexes.repeat(2))
    assert model.chance_loss() == pytest.approx(CHANCE[method])
    assert loss.item() == pytest.approx(CHANCE[method], rel=0.02)


def test_chance_of_siglip_is_the_best_that_its_bias_reaches(tiny: Tiny) -> None:
    model = built(tiny, "siglip")
    z = torch.randn(2 * N, D, generator=GENERATOR)
    losses = []
    for bias in torch.linspace(-6, 2, 161):
        model.bias.data.fill_(bias)
        losses.append(model.contrastive_loss(z, torch.arange(N).repeat(2)).item())
    assert min(losses) == pytest.approx(model.chance_loss(), rel=0.01)


@pytest.mark.parametrize("method", ["byol", "supcon", "rince", "vicreg"])
def test_a_loss_without_such_a_value_has_no_chance(tiny: Tiny, method: str) -> None:
    assert built(tiny, method).chance_loss() is None


def test_the_loss_is_the_last_one_measured(tmp_path: Path) -> None:
    assert last_loss(RunFolder(tmp_path)) is None
    table = pd.DataFrame({"epoch": [0, 1], "train_nce_loss": [3.0, 2.5]})
    table.to_csv(tmp_path / "metrics.csv")
    assert last_loss(RunFolder(tmp_path)) == 2.5
