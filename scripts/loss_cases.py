"""The losses that benchmark_loss.py and gpu_check.py measure: ours, others' and the floor.

A case is a name, or NAME@PRECISION with a setting of `torch.set_float32_matmul_precision`.
"flex" and "compiled" are contenders: the same loss by PyTorch's own compiled attention, and the
dense form in blocks through `torch.compile`. They are here for the trial and not in the package.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.losses.embeddings import normalize
from solo_dyntemp.losses.kernels import dense
from solo_dyntemp.temperature import ConstantTemperature, CosineTemperature

LABELS = {
    "triton": "ours, triton",
    "tiled": "ours, tiled",
    "dense": "ours, dense (whole matrix)",
    "auto": "ours, auto",
    "fixed": "ours, triton, fixed temperature",
    "flex": "flex_attention with its log-sum-exp",
    "compiled": "torch.compile of the dense form in blocks",
    "lightly": "lightly NTXentLoss, fixed temperature",
    "solo-learn": "solo-learn simclr_loss_func, fixed temperature",
    "floor": "floor: two matrix products",
}
WHOLE = 2**62  # pairs in a block: the plain form, never in blocks
BLOCK = 2**28  # pairs in a block of the compiled form: 1 GB each tensor


@cache
def cosine() -> CosineTemperature:
    """Return the temperature of all cases but the fixed ones.

    Making it computes. That must not happen on import: a fork of a process that has used its
    threads waits for them for ever.
    """
    return CosineTemperature(0.1, 0.2)


def label(case: str) -> str:
    """Return what a case is called in a table.

    >>> label("triton@high")
    'ours, triton, products at "high"'
    """
    name, _, precision = case.partition("@")
    return LABELS[name] + (f', products at "{precision}"' if precision else "")


def step(case: str, n: int, z: Tensor) -> Callable[[], Any]:
    """Return a function that runs one forward and backward pass on `z`, shape (2n, D).

    It leaves the gradient in `z.grad` and returns the loss; "floor" has neither, and "flex" no
    whole gradient on a CPU.
    """
    name, _, precision = case.partition("@")
    precision = precision or "highest"
    if name == "floor":

        def floor() -> Tensor:
            torch.set_float32_matmul_precision(precision)
            with torch.no_grad():
                return (z @ z.T) @ z

        return floor
    loss = _loss(name, n, z)

    def run() -> Tensor:
        torch.set_float32_matmul_precision(precision)
        z.grad = None
        value = loss()
        value.backward()
        return value.detach()

    return run


def exact(n: int, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss and gradient of the cosine in double, in blocks of rows."""
    dense.terms, dense.LARGEST_BLOCK = PLAIN_TERMS, 2**23
    leaf = z.detach().double().requires_grad_()
    value = _ours("dense", cosine(), n, leaf)()
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def _ours(implementation: str, temperature: Any, n: int, z: Tensor) -> Callable[[], Tensor]:
    indexes = torch.arange(n, device=z.device).repeat(2)
    return lambda: dyntemp_infonce(
        z, indexes, temperature=temperature, implementation=implementation
    )


def _loss(name: str, n: int, z: Tensor) -> Callable[[], Tensor]:
    if name == "lightly":
        from lightly.loss import NTXentLoss

        theirs = NTXentLoss(temperature=0.2)
        return lambda: theirs(z[:n], z[n:])
    if name == "solo-learn":
        from solo.losses.simclr import simclr_loss_func

        indexes = torch.arange(n, device=z.device).repeat(2)
        return lambda: simclr_loss_func(z, indexes, temperature=0.2)
    if name == "flex":
        return _flex(n, z)
    dense.terms, dense.LARGEST_BLOCK = PLAIN_TERMS, WHOLE
    if name == "compiled":
        dense.terms, dense.LARGEST_BLOCK = torch.compile(PLAIN_TERMS, dynamic=False), BLOCK
        return _ours("dense", cosine(), n, z)
    if name == "fixed":
        return _ours("triton" if z.is_cuda else "tiled", ConstantTemperature(0.2), n, z)
    return _ours(name, cosine(), n, z)


PLAIN_TERMS = dense.terms


def _flex(n: int, z: Tensor) -> Callable[[], Tensor]:
    """The log-sums are an attention's whose scores are s / tau(s); its output is not used."""
    from torch.nn.attention.flex_attention import flex_attention

    attention: Any = torch.compile(flex_attention, dynamic=False) if z.is_cuda else flex_attention
    low, high = cosine().tau_min, cosine().tau_max

    def logit(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        # the formula of CosineTemperature: an attention's score_mod takes no tensor of another file
        fixed = score.detach()
        tau = low + 0.5 * (high - low) * (1 + torch.cos(torch.pi * (1 + fixed)))
        return torch.where(i == j, -torch.inf, score / tau)

    def loss() -> Tensor:
        rows = normalize(z)
        query = (rows if z.is_cuda else rows.detach())[None, None]  # no gradient on a CPU
        value = query[..., :16]  # the narrowest that there is
        _, sums = attention(query, query, value, score_mod=logit, scale=1.0, return_lse=True)
        s = (rows[:n] * rows[n:]).sum(1)
        return sums.mean() - (s / cosine()(s.detach())).mean()

    return loss
