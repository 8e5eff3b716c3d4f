"""The tiled kernel against the dense one."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.losses.kernels import tiled
from solo_dyntemp.temperature import ArctanhTemperature, CosineTemperature

COSINE = CosineTemperature(0.1, 0.2)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize(("n", "count"), [(37, 2), (11, 6)])
def test_tiled_equals_dense(
    monkeypatch, gradients, assert_same, curve, detach, dtype, tolerance, n, count, views
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


def test_second_derivative_dense_yes_tiled_no(views):
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


def test_arctanh_needs_no_logarithm_of_a_tile_and_fewer_passes_than_the_cosine(views):
    """So it is as fast, whatever the machine; docs/performance.md has the times."""

    class Passes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.numel() >= 64 * 64:
                called.append(function.overloadpacket.__name__)
            return result

    z, indexes = views(64, 2, torch.float32)
    passes = {}
    for curve in (COSINE, ArctanhTemperature()):
        called = []
        with Passes():
            dyntemp_infonce(
                z.clone().requires_grad_(), indexes, temperature=curve, implementation="tiled"
            ).backward()
        passes[curve] = called
    cosine, arctanh = passes.values()
    assert {"cos_", "exp_"} <= set(cosine) and "mm" in arctanh
    assert not {"cos_", "exp_", "exp", "log", "log1p", "atanh", "atanh_", "pow"} & set(arctanh)
    assert len(arctanh) <= len(cosine)


def test_tiled_never_holds_the_matrix(views):
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
