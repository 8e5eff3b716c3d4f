"""When a run says that it did not learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.evaluation.verdict import chance_loss, last_loss, verdict
from solo_registry.training.notes import all_warmup

Tiny = Callable[..., DictConfig]


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


@pytest.mark.parametrize(
    ("method", "left_out"),
    [("simclr", 1), ("simclr_dyntemp", 1), ("dcl", 2), ("siglip", None), ("byol", None)],
)
def test_chance_is_that_of_the_method(tiny: Tiny, method: str, left_out: int | None) -> None:
    cfg = resolve(tiny(method, "optimizer.batch_size=16"))
    cfg.data.num_classes, cfg.data.image_channels, cfg.data.train_images = 10, 1, 100
    found = chance_loss(METHODS.get(method)(cfg))
    assert found == (None if left_out is None else math.log(32 - left_out))


def test_the_loss_is_the_last_one_measured(tmp_path: Path) -> None:
    assert last_loss(tmp_path / "metrics.csv") is None
    table = pd.DataFrame({"epoch": [0, 1], "train_nce_loss": [3.0, 2.5]})
    table.to_csv(tmp_path / "metrics.csv")
    assert last_loss(tmp_path / "metrics.csv") == 2.5


def test_a_training_that_is_all_warm_up_is_warned_of(tiny: Tiny) -> None:
    for epochs, warned in ((1, True), (2, True), (3, False)):
        cfg = resolve(tiny("simclr", f"max_epochs={epochs}", "scheduler.warmup_epochs=2"))
        assert bool(all_warmup(cfg)) is warned
