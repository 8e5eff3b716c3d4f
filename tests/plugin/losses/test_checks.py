"""Bad input: a ValueError with the offending shape or value."""

from __future__ import annotations

import math

import pytest
import torch

from solo_dyntemp.losses import (
    DynTempDCL,
    DynTempInfoNCE,
    DynTempQueueInfoNCE,
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
    dyntemp_supcon,
)
from solo_dyntemp.temperature import CosineTemperature, LearnableTemperature

COSINE = CosineTemperature(0.1, 0.2)
Z = torch.randn(4, 3)
INDEXES = torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("z", "indexes", "message"),
    [
        (torch.randn(4), INDEXES, r"two dimensions, got shape \(4,\)"),
        (torch.randn(4, 3, 1), INDEXES, r"two dimensions, got shape \(4, 3, 1\)"),
        (torch.randn(0, 3), torch.tensor([], dtype=torch.long), r"empty, got shape \(0, 3\)"),
        (torch.ones(4, 3, dtype=torch.long), INDEXES, "floating point tensor, got torch.int64"),
        (Z, INDEXES.float(), "integer tensor, got torch.float32"),
        (Z, INDEXES.bool(), "integer tensor, got torch.bool"),
        (Z, [0, 1, 0, 1], "integer tensor, got list"),
        (Z, INDEXES[:3], r"shape \(4,\), one for each row, got \(3,\)"),
        (Z, INDEXES[:, None], r"got \(4, 1\)"),
        (Z, torch.tensor([7, 1, 2, 1]), "2 of 3 have one, the first is index 2"),
        (Z, INDEXES.to("meta"), "device of the embeddings, cpu, got meta"),
    ],
)
def test_bad_batches(z, indexes, message):
    with pytest.raises(ValueError, match=message):
        dyntemp_infonce(z, indexes, temperature=COSINE)


def test_bad_settings():
    with pytest.raises(ValueError, match="auto, dense, tiled, triton, got 'fast'"):
        dyntemp_infonce(Z, INDEXES, temperature=COSINE, implementation="fast")
    with pytest.raises(ValueError, match="auto, dense, tiled, triton, got 'fast'"):
        DynTempInfoNCE(COSINE, implementation="fast")
    with pytest.raises(ValueError, match=r"temperature 'cosin'\. Did you mean 'cosine'"):
        dyntemp_infonce(Z, INDEXES, temperature="cosin")
    with pytest.raises(ValueError, match=r"tau must be positive, got -0\.1"):
        dyntemp_infonce(Z, INDEXES, temperature=-0.1)
    with pytest.raises(ValueError, match="similarity alone, got ScalarTemperature;"):
        dyntemp_infonce(Z, INDEXES, temperature=LearnableTemperature(), implementation="tiled")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z: dyntemp_infonce_queue(z, z[:3], z.T, temperature=0.2),
            r"shapes must be equal, got query \(4, 6\), key \(3, 6\)",
        ),
        (
            lambda z: dyntemp_infonce_queue(z, z, z, temperature=0.2),
            r"queue must have shape \(6, K\), keys in columns, got \(4, 6\)",
        ),
        (
            lambda z: dyntemp_infonce_queue(z, z, z.T[:, :0], temperature=0.2),
            r"queue must not be empty, got shape \(6, 0\)",
        ),
        (
            lambda z: dyntemp_infonce_queue(z, z, z.T.to("meta"), temperature=0.2),
            "queue must be on the device of the other tensors, cpu, got meta",
        ),
        (
            lambda z: dyntemp_infonce_queue(z, z, z.T.double(), temperature=0.2),
            "queue must be double only if all tensors are, got torch.float64 beside torch.float32",
        ),
        (lambda z: dyntemp_dcl(z, z[:, :2], temperature=0.2), r"got z1 \(4, 6\), z2 \(4, 2\)"),
        (
            lambda z: dyntemp_dcl(z[:1], z[:1], temperature=0.2),
            r"at least two images, got shape \(1, 6\)",
        ),
        (
            lambda z: dyntemp_dcl(z, z, temperature=0.2, sigma=0.0),
            r"sigma must be positive and finite, or None, got 0\.0",
        ),
        (
            lambda z: dyntemp_infonce_queue(z, z, z.T, temperature=0.2, implementation="quick"),
            "implementation must be one of auto, dense, tiled, triton, got 'quick'",
        ),
        (lambda z: DynTempQueueInfoNCE(0.2, implementation="quick"), "got 'quick'"),
        (lambda z: DynTempDCL(0.2, sigma=math.nan), "sigma must be positive .* got nan"),
        (lambda z: dyntemp_paired(z, z.long(), temperature=0.2), "b must be a floating point"),
        (
            lambda z: dyntemp_supcon(z, torch.zeros(4).long(), temperature=0.2, form="both"),
            "form must be one of out, in, got 'both'",
        ),
        (
            lambda z: dyntemp_supcon(
                z, torch.tensor([0, 0, 1, 2]), temperature=0.2, skip_alone=False
            ),
            "2 of 3 have one, the first is index 1",
        ),
    ],
)
def test_bad_arguments_of_other_forms(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 6))
