"""What the loss tests share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from solo_dyntemp import temperature as tau

CURVES = {
    "constant": tau.ConstantTemperature(0.2),
    "cosine": tau.CosineTemperature(0.1, 0.2),
    "shifted_cosine": tau.ShiftedCosineTemperature(0.1, 0.2),
    "linear": tau.LinearTemperature(0.1, 0.2),
    "exponential": tau.ExponentialTemperature(0.1, 0.2),
    "monotone_cosine": tau.MonotoneCosineTemperature(0.1, 0.2),
    "inverted_cosine": tau.InvertedCosineTemperature(0.15, 0.2),
    "function": tau.FunctionTemperature(lambda s: 0.1 + 0.05 * s.square()),
    "sharp": tau.ConstantTemperature(0.01),  # beyond what exp holds without a shift
    "sharp_cosine": tau.CosineTemperature(0.01, 0.02),
}


@pytest.fixture(params=CURVES, ids=str)
def curve(request):
    """Every elementwise temperature."""
    return CURVES[request.param]


@pytest.fixture(params=[True, False], ids=["detached", "flow"])
def detach(request):
    return request.param


@pytest.fixture(scope="session")
def reference():
    """The slow losses of reference.py."""
    path = Path(__file__).with_name("reference.py")
    spec = importlib.util.spec_from_file_location("loss_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def gradients():
    """Return a function that calls a loss on fresh leaves and returns value and gradients."""

    def run(loss, *tensors):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        value = loss(*leaves)
        value.backward()
        return value.detach(), *[leaf.grad for leaf in leaves]

    return run


@pytest.fixture
def assert_same():
    """Assert equality relative to the largest element of each tensor."""

    def check(actual, expected, tolerance):
        for a, b in zip(actual, expected, strict=True):
            scale = b.abs().max().clamp_min(1e-30)
            error = (a - b).abs().max() / scale
            assert error <= tolerance, f"relative error {error:.1e}"

    return check
