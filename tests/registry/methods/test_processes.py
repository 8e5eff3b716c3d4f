"""Two gloo processes take the step of one, for every method that promises it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.verify_ddp import Certificate, verify_all

Make = Callable[..., DictConfig]
FOUR = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 2}]
get = METHODS.get
CERTIFICATES: dict[str, Certificate] = {}  # of all methods: the processes are started once


@pytest.mark.distributed
def test_two_processes_get_the_gradient_of_one(
    small_of: Callable[..., Make], needs_of: Any, method: str
) -> None:
    if not CERTIFICATES:
        names = [name for name in METHODS if not name.startswith("solo/")]
        multicrop = [get(name).MULTICROP and not get(name).TWO_VIEWS for name in names]
        givens = [
            small_of(name)(needs_of(name).backbones[0], **({"augmentations": FOUR} if many else {}))
            for name, many in zip(names, multicrop, strict=True)
        ]
        found = verify_all(givens, processes=2, images=4)
        CERTIFICATES.update(zip(names, found, strict=True))
    certificate, reason = CERTIFICATES[method], get(method).PER_PROCESS
    assert certificate.scale > 1e-4
    same = max(certificate.error / certificate.scale, certificate.loss_error) < 1e-9
    assert same is not bool(reason), reason or certificate
