"""Two gloo processes take the step of one, for every method that promises it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig

from solo_registry.registry import METHODS
from solo_registry.verify_ddp import Certificate, verify_all

Make = Callable[..., DictConfig]
FOUR = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 2}]
CERTIFICATES: dict[str, Certificate] = {}  # of all methods: the processes are started once


@pytest.mark.distributed
def test_two_processes_get_the_gradient_of_one(
    small_of: Callable[..., Make], needs_of: Any, needs: Any, method: str
) -> None:
    if "resnet" not in needs.backbones:
        pytest.skip(f"{method} cannot have the linear backbone of the check")
    if not CERTIFICATES:
        own = [name for name in METHODS if not name.startswith("solo/")]
        names = [name for name in own if "resnet" in needs_of(name).backbones]
        views = [{} if METHODS.get(name).TWO_VIEWS else {"augmentations": FOUR} for name in names]
        givens = [small_of(name)("resnet", **more) for name, more in zip(names, views, strict=True)]
        found = verify_all(givens, processes=2, images=4)
        CERTIFICATES.update(zip(names, found, strict=True))
    certificate, reason = CERTIFICATES[method], METHODS.get(method).PER_PROCESS
    assert certificate.scale > 1e-4
    same = max(certificate.error / certificate.scale, certificate.loss_error) < 1e-9
    assert same is not bool(reason), reason or certificate
