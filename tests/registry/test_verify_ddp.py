from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.errors import UserError
from solo_registry.verify_ddp import one_step, small_config, verify_ddp

Tiny = Callable[..., DictConfig]
SIX_VIEWS = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 4}]


@pytest.mark.distributed
def test_two_processes_get_the_gradient_of_one_with_a_queue(tiny: Tiny) -> None:
    found = verify_ddp(tiny("mocov2plus"), processes=2, images=4)
    assert found.scale > 1e-4 and found.error < 1e-9 * found.scale
    assert found.loss_error < 1e-9


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


def test_numbers_that_check_nothing_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match="needs 2 processes and 1 image, got 1 and 8"):
        verify_ddp(tiny("simclr"), processes=1)
