"""The Triton kernels, run by Triton's interpreter, against the dense reference in double."""

from __future__ import annotations

import gc
import importlib.util
import math
import os
import re
import subprocess
import sys
import weakref
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.losses.contrast import choose
from solo_dyntemp.losses.kernels import tiled, triton
from solo_dyntemp.losses.kernels.settings import KernelSettings
from solo_dyntemp.temperature import CosineTemperature, DualConstantTemperature, as_temperature

pytest.importorskip("triton", reason="triton is not installed")
pytestmark = pytest.mark.distributed

WORKER = Path(__file__).with_name("triton_worker.py")
spec = importlib.util.spec_from_file_location("triton_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)

COSINE = CosineTemperature(0.1, 0.2)
INDEXES = torch.arange(4).repeat(2)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What a process that interprets Triton saved; it runs once for all tests."""
    path = tmp_path_factory.mktemp("triton") / "results.pt"
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, WORKER, path], env=environment, check=True, timeout=120)
    return torch.load(path)


@pytest.fixture
def assert_right(assert_same):
    """Assert that loss and gradients of a case are those of the dense kernel in double."""

    def check(name, actual):
        expected = worker.gradients(worker.cases()[name], "dense", torch.float64)
        if name.startswith("1 x 2"):  # one pair: all are exactly zero
            assert all(part.abs().max() <= 2e-6 for part in actual)
            return
        half = actual[1].dtype in (torch.float16, torch.bfloat16)
        assert_same(actual[:1], expected[:1], 1e-5)
        # a gradient of half precision is rounded to it at the end
        assert_same(actual[1:], expected[1:], 4e-3 if half else 1e-5)

    return check


@pytest.mark.parametrize("name", worker.cases())
def test_equals_dense(results, assert_right, name):
    assert_right(name, results["cases"][name])


@pytest.mark.parametrize("name", worker.CURVES)
def test_a_written_formula_is_the_temperatures(results, name):
    temperature, s = worker.CURVES[name], worker.GRID.double()
    tau, slope = results["grid"][name]
    torch.testing.assert_close(tau.double(), temperature(s), rtol=4e-7, atol=0)
    expected = temperature.derivative(s)
    # the kernels use s τ'; near s = 0 the slope of arctanh is a difference of equal numbers
    assert (s * (slope - expected)).abs().max() <= 1e-6 * expected.abs().max()


def test_the_odds_are_written_too(results):
    curve, s = worker.CURVES["arctanh"], worker.GRID
    expected = (curve.odds(s), curve.odds_slope(s))
    for found, right in zip(results["grid"]["odds"], expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=0)


# largest error of a gradient, relative to its largest element, and of a loss; where tau is 0.01, an
# error of a similarity weighs ten times as much
@pytest.mark.parametrize("case", worker.PRECISE)
@pytest.mark.parametrize(
    ("name", "tolerance", "sharp"),
    [("highest", 2e-6, 1e-4), ("high", 5e-4, 2e-2), ("medium", 1e-2, 2e-1)],
)
def test_each_precision_is_as_exact_as_its_products(
    results, assert_same, name, tolerance, sharp, case
):
    actual = results["precisions"][name][case]
    expected = worker.gradients(worker.PRECISE[case], "dense", torch.float64)
    assert_same(actual, expected, sharp if case.startswith("sharp") else tolerance)
    if name != "highest":  # and it is what was asked for
        exact = results["precisions"]["highest"][case]
        with pytest.raises(AssertionError, match="relative error"):
            assert_same(actual[1:], exact[1:], tolerance / 100)


def test_the_precision_is_that_of_pytorchs_products():
    found = {}
    for name in ("high", "medium", "highest"):
        torch.set_float32_matmul_precision(name)
        found[name] = triton.precision()
    assert found == {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}
    torch.backends.cuda.matmul.fp32_precision = "tf32"  # the newer switch, of CUDA alone
    try:
        assert triton.precision() == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert triton.precision() == "tf32x3"


def test_an_infinite_input_gives_nan_and_does_not_raise(results):
    assert results["special"]["infinite"].isnan()


def test_gives_the_same_bits_again(results):
    assert results["special"]["repeats"]


def test_has_no_second_derivative(results):
    assert "no second derivative" in results["special"]["second derivative"]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interprets on the CPU")
def test_needs_a_gpu():
    message = "implementation='triton' needs an NVIDIA GPU, got embeddings on cpu"
    with pytest.raises(ValueError, match=message):
        dyntemp_infonce(torch.randn(8, 3), INDEXES, temperature=COSINE, implementation="triton")


@pytest.mark.parametrize(
    ("temperature", "rows", "message"),
    [
        (COSINE, torch.randn(8, 3).double(), "computes in float32, got torch.float64"),
        (COSINE, torch.randn(8, 513), r"up to 512 dimensions, got shape \(8, 513\)"),
        (DualConstantTemperature(), torch.randn(8, 3), "needs a temperature of the pair's"),
        (as_temperature(lambda s: 0.1 + s.cosh()), torch.randn(8, 3), "cannot write Function"),
    ],
)
def test_finds_what_it_cannot_take(monkeypatch, temperature, rows, message):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match=message):
        choose("triton", temperature, 2, rows, len(rows))


def test_says_when_triton_is_missing_or_too_old(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(triton, "TRITON", (99, 0))
    assert "needs triton 99.0, got 3." in triton.unsupported_reason(COSINE, torch.randn(8, 3), 8)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "needs the package triton" in triton.unsupported_reason(COSINE, torch.randn(8, 3), 8)


@pytest.mark.parametrize(
    ("log_sums", "message"),
    [
        (tiled.logsumexp, None),
        (
            lambda z, _, settings: 1.001 * triton.tiled.logsumexp(z, z, settings),
            "gives wrong results on cpu",
        ),
        (lambda z, _, settings: z.nothing, r"fails on cpu \(AttributeError: .*nothing"),
    ],
    ids=["right", "wrong", "fails"],
)
def test_is_tried_before_it_is_used(monkeypatch, log_sums, message):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(triton, "logsumexp", log_sums)
    triton._trial_problem.cache_clear()
    z = torch.randn(8, 3)
    with pytest.warns(UserWarning, match=message) if message else nullcontext():
        problem = triton.unsupported_reason(COSINE, z, 8)
    assert re.search(message, problem) if message else problem is None
    assert triton.unsupported_reason(COSINE, z, 8) == problem  # and warns no more
    triton._trial_problem.cache_clear()


def test_a_formula_is_written_once_for_value_objects_and_a_module_is_not_kept(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(triton, "_trial_problem", lambda *_: None)  # not what is asked here
    rows, written, write = torch.randn(8, 3), [], triton.formula.write

    def count(*words):
        written.append(words)
        return write(*words)

    assert triton.unsupported_reason(CosineTemperature(0.07, 0.31), rows, 8) is None
    monkeypatch.setattr(triton.formula, "write", count)
    again = CosineTemperature(0.07, 0.31)
    assert triton.unsupported_reason(again, rows, 8) is None and not written
    for _ in range(2):  # as at each launch
        functions = triton._functions(KernelSettings(again, detach=False, block=1), rows.device)
    assert {"TAU", "SLOPE"} < set(functions) and not written
    module = as_temperature(lambda s: 0.1 + s.cosh())
    kept = weakref.ref(module)
    for _ in range(2):
        assert "cannot write Function" in triton.unsupported_reason(module, rows, 8)
    assert len(written) == 2
    written.clear()
    del module
    gc.collect()
    assert kept() is None


def test_needs_one_number_of_views():
    with pytest.raises(ValueError, match="implementation='triton' needs the same number of views"):
        dyntemp_infonce(
            torch.randn(5, 3),
            torch.tensor([0, 0, 1, 1, 1]),
            temperature=COSINE,
            implementation="triton",
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestOnADevice:
    @pytest.mark.parametrize("name", worker.cases())
    def test_equals_dense(self, assert_right, name):
        loss, inputs = worker.cases()[name]
        actual = worker.gradients((loss, [x.cuda() for x in inputs]), "triton")
        assert_right(name, [part.cpu() for part in actual])

    def test_auto_takes_it(self):
        rows = torch.randn(8, 3, device="cuda")
        assert choose("auto", COSINE, 2, rows, 8) == "triton"
        assert choose("auto", DualConstantTemperature(), 2, rows, 8) == "dense"
        assert choose("auto", COSINE, 2, rows.double(), 8) == "dense"

    def test_large_batches_are_finite(self):
        z = torch.randn(2 * 4096, 128, device="cuda", requires_grad=True)
        indexes = torch.arange(4096, device="cuda").repeat(2)
        dyntemp_infonce(z, indexes, temperature=COSINE, implementation="triton").backward()
        assert math.isfinite(z.grad.norm().item())
