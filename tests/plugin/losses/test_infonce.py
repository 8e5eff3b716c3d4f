"""The value and the gradient of `dyntemp_infonce`."""

from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss

from solo_dyntemp.losses import DynTempInfoNCE, dyntemp_infonce
from solo_dyntemp.temperature import (
    ConstantTemperature,
    CosineTemperature,
    DualConstantTemperature,
    MACLTemperature,
)

COSINE = CosineTemperature(0.1, 0.2)


@pytest.mark.parametrize(("n", "count"), [(1, 2), (4, 2), (2, 6), (7, 2)])
def test_equals_the_formula(
    small_tiles, gradients, reference, implementation, n, count, curve, detach, views
):
    z, indexes = views(n, count)
    options = {"temperature": curve, "detach_temperature": detach}
    actual = gradients(
        lambda z: dyntemp_infonce(z, indexes, implementation=implementation, **options), z
    )
    expected = gradients(lambda z: reference.infonce(z, indexes, curve, detach), z)
    # with one image of two views loss and gradient are exactly zero
    torch.testing.assert_close(actual[0], expected[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(actual[1], expected[1], rtol=1e-9, atol=1e-11)


def test_constant_temperature_is_lightlys_nt_xent(gradients, assert_same, views):
    z, indexes = views(9, 2)
    theirs = NTXentLoss(temperature=0.2)
    expected = gradients(lambda z: theirs(z[:9], z[9:]), z)
    for curve in (ConstantTemperature(0.2), CosineTemperature(0.2, 0.2), 0.2):
        for implementation in ("dense", "tiled"):
            for detach in (True, False):
                actual = gradients(
                    lambda z, c=curve, i=implementation, d=detach: dyntemp_infonce(
                        z, indexes, temperature=c, implementation=i, detach_temperature=d
                    ),
                    z,
                )
                assert_same(actual, expected, 1e-12)


@pytest.mark.parametrize("count", [2, 6])
@pytest.mark.parametrize("temperature", [COSINE, MACLTemperature(), DualConstantTemperature()])
def test_known_views_give_the_same_bits_as_those_that_are_found(
    gradients, views, temperature, count
):
    z, indexes = views(9, count, dtype=torch.float32)
    order = torch.randperm(len(z))
    indexes = 7 * indexes[order]
    found, known = (
        gradients(lambda z, w=w: dyntemp_infonce(z, indexes, temperature=temperature, views=w), z)
        for w in (None, count)
    )
    assert all(map(torch.equal, found, known))


@pytest.mark.parametrize("count", [1, 0, -2, 5])
def test_known_views_must_divide_the_rows(views, count):
    z, indexes = views(3, 4)
    with pytest.raises(ValueError, match=f"views must be at least 2 and divide .* got {count}"):
        dyntemp_infonce(z, indexes, temperature=COSINE, views=count)


def test_equal_embeddings_give_log_2n_minus_1(implementation, curve):
    z = torch.ones(12, 4, dtype=torch.float64)
    indexes = torch.arange(6).repeat(2)
    loss = dyntemp_infonce(z, indexes, temperature=curve, implementation=implementation)
    assert loss.item() == pytest.approx(math.log(11), rel=1e-12)


def test_views_that_are_equal_and_orthogonal_images_give_the_closed_form():
    n = 5
    z = torch.eye(n, dtype=torch.float64).repeat(2, 1)
    loss = dyntemp_infonce(z, torch.arange(n).repeat(2), temperature=COSINE)
    assert loss.item() == pytest.approx(math.log1p((2 * n - 2) * math.exp(-1 / 0.2)), rel=1e-12)


def test_ratio_of_flowing_to_stopped_gradient_is_that_of_the_paper():
    # one anchor pair and the similarity s: the ratio is 1 - s tau' / tau
    for s, expected in ((0.25, 0.758), (0.5, 0.476), (0.75, 0.551)):
        x = torch.tensor(s, dtype=torch.float64, requires_grad=True)
        (x / COSINE(x)).backward()
        stopped = 1 / COSINE(torch.tensor(s, dtype=torch.float64))
        assert (x.grad / stopped).item() == pytest.approx(expected, abs=1e-3)
        slope = COSINE.derivative(torch.tensor(s, dtype=torch.float64))
        assert (1 - s * slope * stopped).item() == pytest.approx(expected, abs=1e-3)


def test_detaching_changes_the_gradient_not_the_value(gradients, implementation, views):
    z, indexes = views(6, 2)

    def run(detach):
        return gradients(
            lambda z: dyntemp_infonce(
                z,
                indexes,
                temperature=COSINE,
                detach_temperature=detach,
                implementation=implementation,
            ),
            z,
        )

    stopped, flowing = run(True), run(False)
    assert stopped[0] == flowing[0]
    assert (stopped[1] - flowing[1]).norm() > 0.1 * stopped[1].norm()


@pytest.mark.parametrize("count", [2, 3])
def test_gradcheck_with_the_gradient_through_tau(small_tiles, implementation, count, views):
    z, indexes = views(4, count, dimension=3)
    z.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: dyntemp_infonce(
            z,
            indexes,
            temperature=COSINE,
            detach_temperature=False,
            implementation=implementation,
        ),
        z,
    )


def test_upstream_gradient_scales(gradients, implementation, views):
    z, indexes = views(6, 2)

    def loss(factor):
        return lambda z: (
            factor * dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)
        )

    torch.testing.assert_close(gradients(loss(3.0), z)[1], 3 * gradients(loss(1.0), z)[1])


def test_zero_rows_and_duplicates_are_finite(implementation, curve, detach, views):
    z, indexes = views(5, 2, torch.float32)
    z[0] = 0
    z[5] = 0
    z[3] = z[4]
    z.requires_grad_()
    loss = dyntemp_infonce(
        z,
        indexes,
        temperature=curve,
        detach_temperature=detach,
        implementation=implementation,
    )
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    assert z.grad[0].norm() == 0


def test_uneven_numbers_of_views(gradients, assert_same, reference):
    indexes = torch.tensor([3, 3, 8, 8, 8, 3, 5, 5])
    z = torch.randn(8, 4, dtype=torch.float64)
    actual = gradients(lambda z: dyntemp_infonce(z, indexes, temperature=COSINE), z)
    assert_same(actual, gradients(lambda z: reference.infonce(z, indexes, COSINE, True), z), 1e-12)
    with pytest.raises(ValueError, match="same number of views"):
        dyntemp_infonce(z, indexes, temperature=COSINE, implementation="tiled")


def test_module_equals_function_and_shows_its_settings(views):
    z, indexes = views(4, 2)
    module = DynTempInfoNCE(COSINE, detach_temperature=False, implementation="dense")
    expected = dyntemp_infonce(z, indexes, temperature=COSINE, detach_temperature=False)
    assert module(z, indexes) == expected
    assert "CosineTemperature(tau_min=0.1, tau_max=0.2)" in repr(module)
