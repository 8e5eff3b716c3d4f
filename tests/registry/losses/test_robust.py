from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from solo_registry.losses import infonce, rince


@pytest.mark.parametrize("q", [0.01, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("lambda_param", [0.01, 0.5, 1.0])
def test_it_is_the_papers_formula(
    z: Tensor, images: Tensor, exponentials: Any, q: float, lambda_param: float
) -> None:
    e, losses = exponentials(z, 0.3), []
    for i in range(10):
        own = float(e[i, (i + 5) % 10])
        everyone = sum(float(e[i, j]) for j in range(10) if j != i)
        losses.append(-(own**q) / q + (lambda_param * everyone) ** q / q)
    loss = rince(z, images, 0.3, q=q, lambda_param=lambda_param)
    assert loss.item() == pytest.approx(sum(losses) / 10, rel=1e-9)


def test_towards_q_0_it_is_infonce_plus_log_lambda(z: Tensor, images: Tensor) -> None:
    plain = infonce(z, images, 0.2)
    gaps = [
        abs(rince(z, images, 0.2, q=q, lambda_param=0.5).item() - plain.item() - math.log(0.5))
        for q in (1e-2, 1e-4, 1e-8)
    ]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-6
    loss = rince(z, images, 0.2, q=1e-8, lambda_param=0.5)
    ours, theirs = (torch.autograd.grad(value, z)[0] for value in (loss, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_gradient_is_that_of_the_value(z: Tensor, images: Tensor) -> None:
    loss = lambda z: rince(z, images, 0.5, q=0.5, lambda_param=0.1)  # noqa: E731
    assert torch.autograd.gradcheck(loss, z)


def test_the_sharpest_allowed_setting_is_finite(images: Tensor) -> None:
    z = torch.ones(10, 3, requires_grad=True)
    loss = rince(z, images, 0.0125, q=1.0, lambda_param=1.0)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.isfinite() and gradient.isfinite().all()
