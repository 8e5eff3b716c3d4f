"""What the loss tests share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from solo_dyntemp import temperature as tau
from solo_dyntemp.losses.kernels import dense, tiled

CURVES = {
    "constant": tau.ConstantTemperature(0.2),
    "cosine": tau.CosineTemperature(0.1, 0.2),
    "shifted_cosine": tau.ShiftedCosineTemperature(0.1, 0.2),
    "linear": tau.LinearTemperature(0.1, 0.2),
    "exponential": tau.ExponentialTemperature(0.1, 0.2),
    "monotone_cosine": tau.MonotoneCosineTemperature(0.1, 0.2),
    "inverted_cosine": tau.InvertedCosineTemperature(0.15, 0.2),
    "arctanh": tau.ArctanhTemperature(),
    "temo": tau.TeMoTemperature(0.1, 0.2),
    "function": tau.FunctionTemperature(lambda s: 0.1 + 0.05 * s.square()),
    "sharp": tau.ConstantTemperature(0.01),  # beyond what exp holds without a shift
    "sharp_cosine": tau.CosineTemperature(0.01, 0.02),
}
CURVES["temo"].set_progress(1.0)  # until then its loss is not that of one τ(s): see test_forms.py
# one of each kind: without a slope, with one, with autograd's, with the need of a shift
SHOWN = ("constant", "cosine", "function", "sharp_cosine")


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in SHOWN else pytest.mark.nightly) for name in CURVES
    ]
)
def curve(request):
    """Every elementwise temperature; `make test` has one of each kind."""
    return CURVES[request.param]


@pytest.fixture(params=[True, False], ids=["detached", "flow"])
def detach(request):
    return request.param


@pytest.fixture(params=["dense", "tiled"])
def implementation(request):
    """The kernels that run everywhere; kernels/test_triton.py has the third."""
    return request.param


@pytest.fixture
def small_tiles(monkeypatch):
    """Make tiles and blocks so small that their borders cut through the batch."""
    monkeypatch.setitem(tiled.TILE, "cpu", 5)
    monkeypatch.setattr(dense, "LARGEST_BLOCK", 40)


@pytest.fixture
def views():
    """Return a function that draws views of some images and their indexes."""

    def draw(n, count, dtype=torch.float64, dimension=8):
        z = torch.randn(n * count, dimension, dtype=dtype)
        return z, torch.arange(n).repeat(count)

    return draw


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
