from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.config.compose import compose_config
from solo_registry.errors import UserError
from solo_registry.methods.simclr import SimCLRMixin
from solo_registry.verify_ddp import one_step, small_config, verify_ddp

Tiny = Callable[..., DictConfig]
SIX_VIEWS = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 4}]


@pytest.mark.nightly
@pytest.mark.distributed
def test_two_processes_get_the_gradient_of_one_with_a_queue(tiny: Tiny) -> None:
    found = verify_ddp(tiny("mocov2plus"), processes=2, images=4)
    assert found.scale > 1e-4 and found.error < 1e-9 * found.scale
    assert found.loss_error < 1e-9


@pytest.mark.nightly
@pytest.mark.distributed
def test_two_processes_get_the_gradient_of_one_with_six_views(tiny: Tiny) -> None:
    found = verify_ddp(tiny("simclr_dyntemp", augmentations=SIX_VIEWS), processes=2, images=3)
    assert found.scale > 1e-4 and found.error < 1e-9 * found.scale
    assert found.loss_error < 1e-9


def test_without_the_gather_the_check_would_fail(tiny: Tiny) -> None:
    """Outside a process group nothing is gathered: each share sees its own negatives only."""
    cfg = small_config(tiny("simclr"), 2, 4)
    whole, *shares = (one_step(cfg, rows) for rows in (range(8), range(4), range(4, 8)))
    name = "projector.2.weight"
    assert not torch.allclose(whole[name], (shares[0][name] + shares[1][name]) / 2, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "backbone"), [("simclr", "linear_for_verify"), ("mae", "vit_tiny")]
)
def test_what_images_would_decide_needs_no_images(
    tmp_path: Path, method: str, backbone: str
) -> None:
    given = compose_config([f"method={method}", f"data={tmp_path}"])
    assert given.backbone.name is given.optimizer.batch_size is None
    cfg = small_config(given, 2, 4)
    assert (cfg.backbone.name, cfg.optimizer.batch_size) == (backbone, 4)
    assert math.isfinite(float(one_step(cfg, range(8))["loss"]))


def test_pipelines_of_one_size_keep_one_size() -> None:
    """BYOL's two views have pipelines of their own; the second is no small crop."""
    cfg = compose_config(["method=byol", "data=cifar10", "augmentations=asymmetric32"])
    assert [pipeline.crop_size for pipeline in small_config(cfg, 2, 4).augmentations] == [8, 8]
    cfg = compose_config(["method=dino", "data=cifar10", "augmentations=multicrop32"])
    assert {pipeline.crop_size for pipeline in small_config(cfg, 2, 4).augmentations} == {8, 4}


def test_numbers_that_check_nothing_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match="needs 2 processes and 1 image, got 1 and 8"):
        verify_ddp(tiny("simclr"), processes=1)


def test_what_a_step_makes_is_as_exact_as_the_rest(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some losses make a normalisation in each step; in float32 it would refuse the numbers."""

    def normalised(self: object, z: Tensor, groups: Tensor) -> Tensor:
        assert z.dtype == torch.float64
        return nn.BatchNorm1d(z.shape[1])(z).square().sum()

    monkeypatch.setattr(SimCLRMixin, "contrastive_loss", normalised)
    assert one_step(small_config(tiny("simclr"), 2, 4), range(8))["loss"] > 0
    assert torch.get_default_dtype() == torch.float32


def test_a_method_that_needs_more_than_a_batch_is_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, z: Tensor, groups: Tensor) -> Tensor:
        raise AttributeError("'SimCLR' object has no attribute 'trainer'")

    monkeypatch.setattr(SimCLRMixin, "contrastive_loss", broken)
    with pytest.raises(UserError, match=r"'simclr' cannot take a step on its own.*'trainer'"):
        verify_ddp(tiny("simclr"), processes=2, images=4)
