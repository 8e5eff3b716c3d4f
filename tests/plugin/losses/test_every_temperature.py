"""Every temperature in every loss: finite values, and a gradient."""

from __future__ import annotations

import pytest
import torch

from solo_dyntemp.losses import (
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
    dyntemp_supcon,
)
from solo_dyntemp.names import TEMPERATURE_ENTRIES
from solo_dyntemp.temperature import build_temperature, temperature_keywords

N = 6
INDEXES = torch.arange(N).repeat(2)
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])  # of the images
ALONE = torch.arange(2 * N).clamp_max(9)  # most rows are alone in their class, so no anchors


def build(name):
    """Return the temperature with the arguments that it needs."""
    needs = {"size": N, "dimension": 8}
    given = {key: needs[key] for key in temperature_keywords(name) if key in needs}
    temperature = build_temperature(name, **given)
    temperature.use_labels(LABELS)
    temperature.set_progress(0.5)
    return temperature


@pytest.mark.parametrize("name", [name for name, *_ in TEMPERATURE_ENTRIES])
def test_every_temperature_works_in_every_loss(name):
    temperature = build(name)
    z = torch.randn(2 * N, 8 + temperature.outputs, dtype=torch.float64).requires_grad_()
    images = torch.arange(N)
    queue = torch.randn(8, 20, dtype=torch.float64)
    losses = [
        dyntemp_infonce(z, INDEXES, temperature=temperature),
        dyntemp_dcl(z[:N], z[N:], temperature=temperature, sigma=0.5, indexes=images),
        dyntemp_paired(z[:N], z[N:], temperature=temperature, symmetric=True, indexes=images),
        dyntemp_supcon(z, INDEXES, temperature=temperature, indexes=INDEXES),
        dyntemp_supcon(z, INDEXES, temperature=temperature, indexes=INDEXES, form="in"),
        dyntemp_supcon(z, ALONE, temperature=temperature, indexes=INDEXES),
    ]
    if not temperature.compares_labels:  # of a queue's keys nothing is known
        losses.append(
            dyntemp_infonce_queue(z[:N], z[N:], queue, temperature=temperature, indexes=images)
        )
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0
