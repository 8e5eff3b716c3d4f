"""How the losses behave in a training loop: precision, scaling, accumulation, compilation."""

from __future__ import annotations

import math

import pytest
import torch

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.temperature import CosineTemperature

COSINE = CosineTemperature(0.1, 0.2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(implementation, dtype, views):
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


def test_tiled_gradient_is_full_precision_when_backward_runs_under_autocast(gradients, views):
    # PyTorch's own matrix products, so the dense kernel too, are then rounded by autocast
    z, indexes = views(16, 2, torch.float32)

    def loss(z):
        return dyntemp_infonce(z, indexes, temperature=COSINE, implementation="tiled")

    expected = gradients(loss, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = gradients(loss, z)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_infinite_input_gives_nan_and_does_not_raise(implementation, value, views):
    z, indexes = views(4, 2)
    z[1, 2] = value
    z.requires_grad_()
    loss = dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)
    loss.backward()
    assert loss.isnan()


def test_a_grad_scaler_skips_the_step_of_an_infinite_input(implementation, views):
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


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_evaluation_without_gradient(small_tiles, implementation, mode, views):
    z, indexes = views(5, 2)
    z.requires_grad_()
    options = {"temperature": COSINE, "implementation": implementation}
    with mode():
        value = dyntemp_infonce(z, indexes, **options)
    assert not value.requires_grad
    torch.testing.assert_close(value, dyntemp_infonce(z, indexes, **options).detach())


def test_gradients_accumulate(gradients, implementation, views):
    z, indexes = views(5, 2)

    def loss(z):
        return dyntemp_infonce(z, indexes, temperature=COSINE, implementation=implementation)

    leaf = z.clone().requires_grad_()
    loss(leaf).backward()
    loss(leaf).backward()
    torch.testing.assert_close(leaf.grad, 2 * gradients(loss, z)[1])


@pytest.mark.slow
def test_a_compiled_model_around_the_loss(implementation, views):
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, at every break of its graph
def test_a_compiled_training_step(implementation, views):
    layer = torch.nn.Linear(8, 8)
    z, indexes = views(5, 2, torch.float32)

    def step(z):
        return dyntemp_infonce(layer(z), indexes, temperature=COSINE, implementation=implementation)

    def gradient(step):
        layer.zero_grad()
        step(z).backward()
        return layer.weight.grad.clone()

    torch.testing.assert_close(gradient(torch.compile(step, backend="aot_eager")), gradient(step))
