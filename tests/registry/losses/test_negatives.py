from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from solo_registry.losses import debiased_infonce, infonce


def reference(e: Tensor, images: Tensor, tau: float, tau_plus: float, beta: float) -> float:
    """The estimator written out, anchor by anchor."""
    losses = []
    for i in range(len(images)):
        positive = next(j for j in range(len(images)) if j != i and images[j] == images[i])
        negatives = [float(e[i, j]) for j in range(len(images)) if images[j] != images[i]]
        weights = [value**beta for value in negatives]
        mean = sum(weights) / len(weights)
        reweighted = sum(w * value for w, value in zip(weights, negatives, strict=True)) / mean
        count, own = len(negatives), float(e[i, positive])
        estimate = (reweighted - tau_plus * count * own) / (1 - tau_plus)
        losses.append(-math.log(own / (own + max(estimate, count * math.exp(-1 / tau)))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_it_is_the_estimator_of_the_papers(
    z: Tensor, images: Tensor, exponentials: Any, tau: float, tau_plus: float, beta: float
) -> None:
    loss = debiased_infonce(z, images, tau, tau_plus=tau_plus, beta=beta)
    expected = reference(exponentials(z, tau), images, tau, tau_plus, beta)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("settings", [{"tau_plus": 0.1}, {"tau_plus": 0.05, "beta": 1.0}])
def test_the_gradient_is_that_of_the_value(
    z: Tensor, images: Tensor, settings: dict[str, float]
) -> None:
    assert torch.autograd.gradcheck(lambda z: debiased_infonce(z, images, 0.5, **settings), z)


def test_without_correction_it_is_ntxent(z: Tensor, images: Tensor) -> None:
    plain = debiased_infonce(z, images, 0.2, tau_plus=0.0, beta=0.0)
    torch.testing.assert_close(plain, infonce(z, images, 0.2))
    ours, theirs = (torch.autograd.grad(loss, z)[0] for loss in (plain, infonce(z, images, 0.2)))
    torch.testing.assert_close(ours, theirs)


def test_harder_negatives_cost_more_and_a_larger_share_less(z: Tensor, images: Tensor) -> None:
    harder = [debiased_infonce(z, images, 1.0, tau_plus=0.0, beta=beta) for beta in (0.0, 1.0, 4.0)]
    assert harder[0] < harder[1] < harder[2]
    aligned = z[:5].repeat(2, 1)  # every positive is nearer than the mean negative
    less = [debiased_infonce(aligned, images, 1.0, tau_plus=share) for share in (0.0, 0.1, 0.2)]
    assert less[0] > less[1] > less[2]


def test_where_the_estimate_is_cut_off_the_negatives_get_no_gradient() -> None:
    z = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0], [0, 1.0, 0]], requires_grad=True)
    loss = debiased_infonce(z, torch.tensor([0, 1, 0, 1]), 0.1, tau_plus=0.5)
    # own = e^10, negatives 2 x e^0: the estimate is below 2 e^-10
    assert loss.item() == pytest.approx(math.log1p(2 * math.exp(-20)), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, z)
    assert gradient.isfinite().all() and gradient.abs().max() < 1e-6


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_sharp_temperatures_and_equal_rows_stay_finite(
    images: Tensor, beta: float, scale: float
) -> None:
    z = (scale * torch.randn(10, 3) + 1).requires_grad_()
    loss = debiased_infonce(z, images, 0.01, tau_plus=0.1, beta=beta)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.isfinite() and gradient.isfinite().all()
