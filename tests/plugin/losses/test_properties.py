"""Properties that hold for any batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from solo_dyntemp.losses import dyntemp_dcl, dyntemp_infonce, dyntemp_paired
from solo_dyntemp.temperature import CosineTemperature, ShiftedCosineTemperature

LIMITS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
CURVES = st.one_of(
    st.builds(CosineTemperature, st.floats(0.05, 0.1), st.floats(0.1, 0.2)),
    st.builds(ShiftedCosineTemperature, st.floats(0.1, 0.15), st.floats(0.15, 0.2)),
)


@st.composite
def batches(draw):
    """Draw projections, indexes and the number of images."""
    images, views = draw(st.integers(1, 9)), draw(st.sampled_from([2, 3, 6]))
    dimension, seed = draw(st.integers(2, 12)), draw(st.integers(0, 2**31))
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(images * views, dimension, dtype=torch.float64, generator=generator)
    return z, torch.arange(images).repeat(views), generator


IMPLEMENTATIONS = st.sampled_from(["dense", "tiled"])


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@LIMITS
@given(batches(), CURVES, IMPLEMENTATIONS)
def test_the_order_of_rows_and_the_names_of_images_do_not_matter(batch, curve, implementation):
    z, indexes, generator = batch
    order = torch.randperm(len(z), generator=generator)
    options = {"temperature": curve, "implementation": implementation}
    expected = dyntemp_infonce(z, indexes, **options)
    close(dyntemp_infonce(z[order], indexes[order], **options), expected)
    close(dyntemp_infonce(z, 1000 - 7 * indexes, **options), expected)


@LIMITS
@given(batches(), CURVES, IMPLEMENTATIONS)
def test_rotation_and_length_do_not_matter(batch, curve, implementation):
    z, indexes, generator = batch
    width = z.shape[1]
    rotation = torch.linalg.qr(torch.randn(width, width, dtype=z.dtype, generator=generator)).Q
    length = torch.rand(len(z), 1, dtype=z.dtype, generator=generator) + 0.1
    options = {"temperature": curve, "implementation": implementation}
    close(
        dyntemp_infonce(length * z @ rotation, indexes, **options),
        dyntemp_infonce(z, indexes, **options),
    )


@LIMITS
@given(batches(), CURVES)
def test_swapping_views_does_not_matter(batch, curve):
    z, _, generator = batch
    other = torch.randn(z.shape, dtype=z.dtype, generator=generator)
    for loss in (
        lambda a, b: dyntemp_infonce(
            torch.cat([a, b]), torch.arange(len(a)).repeat(2), temperature=curve
        ),
        lambda a, b: dyntemp_dcl(a, b, temperature=curve, sigma=0.5),
        lambda a, b: dyntemp_paired(a, b, temperature=curve, symmetric=True),
    ):
        close(loss(z, other), loss(other, z))


@LIMITS
@given(batches(), CURVES, IMPLEMENTATIONS)
def test_gradient_is_orthogonal_to_each_row(batch, curve, implementation):
    z, indexes, _ = batch
    z.requires_grad_()
    dyntemp_infonce(z, indexes, temperature=curve, implementation=implementation).backward()
    assert (z * z.grad).sum(1).abs().max() < 1e-12


@LIMITS
@given(batches(), CURVES)
def test_row_sums_of_tau_times_the_stopped_gradient_vanish(batch, curve):
    """Softmax minus one-hot sums to zero: Σ_j τ_ij ∂L/∂s_ij = 0, negative for positives alone."""
    z, indexes, _ = batch
    unit = torch.nn.functional.normalize(z)
    s = (unit @ unit.T).requires_grad_()
    itself = torch.eye(len(z), dtype=torch.bool)
    positive = (indexes[:, None] == indexes) & ~itself
    tau = curve(s.detach())
    logits = (s / tau).masked_fill(itself, -torch.inf)
    loss = logits.logsumexp(1) - logits.masked_fill(~positive, -torch.inf).logsumexp(1)
    loss.sum().backward()
    assert (tau * s.grad).sum(1).abs().max() < 1e-12
    assert (s.grad[positive] <= 1e-12).all()
    assert (s.grad[~positive & ~itself] >= 0).all()
    close(loss.mean().detach(), dyntemp_infonce(z, indexes, temperature=curve))


@LIMITS
@given(batches(), CURVES, IMPLEMENTATIONS)
def test_the_loss_is_not_negative(batch, curve, implementation):
    z, indexes, _ = batch
    loss = dyntemp_infonce(z, indexes, temperature=curve, implementation=implementation)
    assert loss >= -1e-12


def test_batch_of_one_image_has_no_negatives():
    z = torch.randn(2, 3, dtype=torch.float64)
    loss = dyntemp_infonce(z, torch.tensor([4, 4]), temperature=CosineTemperature(0.1, 0.2))
    assert loss.item() == pytest.approx(0, abs=1e-12)
