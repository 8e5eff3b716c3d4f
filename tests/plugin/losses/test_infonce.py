from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch.utils._python_dispatch import TorchDispatchMode

from solo_dyntemp.losses import DynTempInfoNCE, dyntemp_infonce
from solo_dyntemp.losses.contrast import CROSSOVER, choose
from solo_dyntemp.losses.kernels import dense, tiled
from solo_dyntemp.temperature import (
    ConstantTemperature,
    CosineTemperature,
    DualConstantTemperature,
)

COSINE = CosineTemperature(0.1, 0.2)
IMPLEMENTATIONS = pytest.mark.parametrize("implementation", ["dense", "tiled"])


@pytest.fixture
def small_tiles(monkeypatch):
    """Make tiles and blocks so small that their borders cut through the batch."""
    monkeypatch.setitem(tiled.TILE, "cpu", 5)
    monkeypatch.setattr(dense, "LARGEST_BLOCK", 40)


def views(n, count, dtype=torch.float64, dimension=8):
    z = torch.randn(n * count, dimension, dtype=dtype)
    return z, torch.arange(n).repeat(count)


@IMPLEMENTATIONS
@pytest.mark.parametrize(("n", "count"), [(1, 2), (4, 2), (2, 6), (7, 2)])
def test_equals_the_formula(
    small_tiles, gradients, reference, implementation, n, count, curve, detach
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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("n", "count"), [(37, 2), (11, 6)])
def test_tiled_equals_dense(
    monkeypatch, gradients, assert_same, curve, detach, dtype, tolerance, n, count
):
    monkeypatch.setitem(tiled.TILE, "cpu", 16)
    z, indexes = views(n, count, dtype, 24)
    z[3] = z[5]  # duplicates
    z[8] = 0
    shuffle = torch.randperm(len(z))

    def loss(implementation):
        return lambda z: dyntemp_infonce(
            z[shuffle],
            indexes[shuffle],
            temperature=curve,
            detach_temperature=detach,
            implementation=implementation,
        )

    expected = gradients(loss("dense"), z.double())
    for implementation in ("dense", "tiled"):
        assert_same(gradients(loss(implementation), z), expected, tolerance)


def test_constant_temperature_is_lightlys_nt_xent(gradients, assert_same):
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


@IMPLEMENTATIONS
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


@IMPLEMENTATIONS
def test_detaching_changes_the_gradient_not_the_value(gradients, implementation):
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


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
@pytest.mark.parametrize("count", [2, 3])
def test_gradcheck_with_the_gradient_through_tau(small_tiles, implementation, count):
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


def test_second_derivative_dense_yes_tiled_no():
    z, indexes = views(4, 2)
    z.requires_grad_()
    for implementation in ("dense", "tiled"):
        loss = dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)
        if implementation == "dense":
            (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
            assert gradient.requires_grad
        else:
            with pytest.raises(RuntimeError, match="no second derivative"):
                torch.autograd.grad(loss, z, create_graph=True)


@IMPLEMENTATIONS
def test_upstream_gradient_scales(gradients, implementation):
    z, indexes = views(6, 2)

    def loss(factor):
        return lambda z: (
            factor * dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)
        )

    torch.testing.assert_close(gradients(loss(3.0), z)[1], 3 * gradients(loss(1.0), z)[1])


@IMPLEMENTATIONS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(implementation, dtype):
    z, indexes = views(16, 2, dtype, 32)
    z.requires_grad_()
    temperature = CosineTemperature(0.05, 0.1)
    with torch.autocast("cpu", dtype=dtype):
        loss = dyntemp_infonce(z, indexes, temperature=temperature, implementation=implementation)
    loss.backward()
    exact = dyntemp_infonce(z.detach().double(), indexes, temperature=temperature)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert z.grad.dtype == dtype
    assert z.grad.isfinite().all()


@IMPLEMENTATIONS
def test_gradient_is_full_precision_when_backward_runs_under_autocast(gradients, implementation):
    z, indexes = views(16, 2, torch.float32)

    def loss(z):
        return dyntemp_infonce(z, indexes, temperature=COSINE, implementation="tiled")

    expected = gradients(loss, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = gradients(loss, z)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@IMPLEMENTATIONS
@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_infinite_input_gives_nan_and_does_not_raise(implementation, value):
    z, indexes = views(4, 2)
    z[1, 2] = value
    z.requires_grad_()
    loss = dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)
    loss.backward()
    assert loss.isnan()


@IMPLEMENTATIONS
def test_zero_rows_and_duplicates_are_finite(implementation, curve, detach):
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


def test_module_equals_function_and_shows_its_settings():
    z, indexes = views(4, 2)
    module = DynTempInfoNCE(COSINE, detach_temperature=False, implementation="dense")
    expected = dyntemp_infonce(z, indexes, temperature=COSINE, detach_temperature=False)
    assert module(z, indexes) == expected
    assert "CosineTemperature(tau_min=0.1, tau_max=0.2)" in repr(module)


def test_auto_is_dense_below_the_crossover_and_where_tiled_cannot():
    rows, many = torch.zeros(10, 3), CROSSOVER["cpu"] // 10
    assert choose("auto", COSINE, 2, rows, many) == "tiled"
    assert choose("auto", COSINE, 2, rows, many - 1) == "dense"
    assert choose("auto", COSINE, None, rows, many) == "dense"
    assert choose("auto", DualConstantTemperature(), 2, rows, many) == "dense"


def test_tiled_never_holds_the_matrix():
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.elements = max(self.elements, result.numel())
            return result

    z, indexes = views(300, 2, torch.float32)
    z.requires_grad_()
    with Largest() as largest, pytest.MonkeyPatch.context() as patch:
        patch.setitem(tiled.TILE, "cpu", 32)
        dyntemp_infonce(
            z, indexes, temperature=COSINE, detach_temperature=False, implementation="tiled"
        ).backward()
    assert largest.elements <= z.numel()  # and 600 * 8 is more than 32 * 32


@IMPLEMENTATIONS
def test_a_grad_scaler_skips_the_step_of_an_infinite_input(implementation):
    layer = torch.nn.Linear(8, 8)
    before = layer.weight.detach().clone()
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    z, indexes = views(4, 2, torch.float32)
    for value in (math.inf, 1.0):
        z[1, 2] = value
        optimiser.zero_grad()
        loss = dyntemp_infonce(layer(z), indexes, temperature=COSINE, implementation=implementation)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        assert torch.equal(layer.weight, before) == (value == math.inf)


@IMPLEMENTATIONS
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluation_without_gradient(small_tiles, implementation, mode):
    z, indexes = views(5, 2)
    z.requires_grad_()
    options = {"temperature": COSINE, "implementation": implementation}
    with mode():
        value = dyntemp_infonce(z, indexes, **options)
    assert not value.requires_grad
    torch.testing.assert_close(value, dyntemp_infonce(z, indexes, **options).detach())


@IMPLEMENTATIONS
def test_gradients_accumulate(gradients, implementation):
    z, indexes = views(5, 2)

    def loss(z):
        return dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)

    leaf = z.clone().requires_grad_()
    loss(leaf).backward()
    loss(leaf).backward()
    torch.testing.assert_close(leaf.grad, 2 * gradients(loss, z)[1])


@pytest.mark.slow
@IMPLEMENTATIONS
def test_a_compiled_model_around_the_loss(implementation):
    layer = torch.nn.Linear(8, 8)
    z, indexes = views(5, 2, torch.float32)

    def gradient(model):
        layer.zero_grad()
        dyntemp_infonce(
            model(z), indexes, temperature=COSINE, implementation=implementation
        ).backward()
        return layer.weight.grad.clone()

    compiled = torch.compile(layer, backend="aot_eager")
    torch.testing.assert_close(gradient(compiled), gradient(layer))


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
def test_bad_input(z, indexes, message):
    with pytest.raises(ValueError, match=message):
        dyntemp_infonce(z, indexes, temperature=COSINE)


def test_bad_settings():
    with pytest.raises(ValueError, match="auto, dense, tiled, got 'fast'"):
        dyntemp_infonce(Z, INDEXES, temperature=COSINE, implementation="fast")
    with pytest.raises(ValueError, match="auto, dense, tiled, got 'fast'"):
        DynTempInfoNCE(COSINE, implementation="fast")
    with pytest.raises(ValueError, match="got 'cosine'"):
        dyntemp_infonce(Z, INDEXES, temperature="cosine")
    with pytest.raises(ValueError, match=r"tau must be positive and finite, got -0\.1"):
        dyntemp_infonce(Z, INDEXES, temperature=-0.1)
