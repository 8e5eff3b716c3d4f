"""Numbers of crops: used where a method can, refused before training where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError

Make = Callable[..., DictConfig]
FOUR = [{"crop_size": 16, "num_crops": 2}, {"crop_size": 8, "num_crops": 2}]


@pytest.mark.each_kind("wmse")
def test_small_crops_are_used_or_refused(
    small: Make, build: Any, batch: Any, usual: str, method: str
) -> None:
    cfg = small(usual, augmentations=FOUR)
    if METHODS.get(method).DROPS_SMALL:
        with pytest.warns(UserWarning, match="the config's 2 small crops are left out"):
            cfg = resolve(cfg)
        assert [crop.crop_size for crop in cfg.augmentations] == [16]
        assert (cfg.data.num_large_crops, cfg.data.num_small_crops) == (2, 0)
        return
    if METHODS.get(method).TWO_VIEWS:
        with pytest.raises(UserError, match="exactly 2 large crops, got 2 large and 2 small"):
            resolve(cfg)
        return
    if not METHODS.get(method).MULTICROP:
        with pytest.raises(UserError, match="large crops only, got 2 large and 2 small"):
            resolve(cfg)
        return
    model = build(cfg)
    indexes, large, targets = batch(size=16)
    views = [*large, *batch(size=8)[1]]
    for view in views:
        view.requires_grad_()
    model.training_step((indexes, views, targets), 0).backward()
    for view in views:
        assert view.grad is not None and view.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="expected 4 views a batch, got 2"):
        model.training_step((indexes, large, targets), 0)


def test_all_views_of_an_image_are_positives(tiny: Make, build: Any, batch: Any) -> None:
    model = build(tiny("simclr", augmentations=FOUR))
    seen: dict[str, torch.Tensor] = {}
    model.contrastive_loss = lambda z, indexes: seen.update(z=z, indexes=indexes) or z.sum()
    indexes, large, targets = batch(size=16)
    model.training_step((indexes, large + batch(size=8)[1], targets), 0)
    assert seen["z"].shape == (32, 8)
    assert torch.equal(seen["indexes"], indexes.repeat(4))
