from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss

from solo_registry.losses import infonce, infonce_queue, supcon_out


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_two_views_equal_lightlys_ntxent_in_value_and_gradient(temperature: float) -> None:
    z = torch.randn(12, 5, requires_grad=True)
    ours = infonce(z, torch.arange(6).repeat(2), temperature)
    theirs = NTXentLoss(temperature)(z[:6], z[6:])
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_many_views_equal_the_formula_in_a_loop() -> None:
    z, indexes = torch.randn(9, 4), torch.tensor([0, 1, 2, 2, 0, 1, 1, 0, 2])
    s = F.normalize(z.double(), dim=1) @ F.normalize(z.double(), dim=1).T
    losses = []
    for i in range(9):
        everyone = sum(torch.exp(s[i, j] / 0.3) for j in range(9) if j != i)
        own = sum(torch.exp(s[i, j] / 0.3) for j in range(9) if j != i and indexes[j] == indexes[i])
        losses.append(torch.log(everyone / own))
    expected = torch.stack(losses).mean()
    assert infonce(z, indexes, 0.3).item() == pytest.approx(expected.item(), abs=1e-6)


def test_equal_similarities_give_log_of_the_count() -> None:
    z = torch.ones(8, 3)
    loss = infonce(z, torch.arange(4).repeat(2), 0.1)
    assert loss.item() == pytest.approx(torch.tensor(7.0).log().item(), abs=1e-5)


def test_queue_form_equals_the_formula_in_a_loop() -> None:
    query, key = (F.normalize(torch.randn(5, 4), dim=1) for _ in range(2))
    queue = F.normalize(torch.randn(4, 7), dim=0)
    losses = []
    for q, k in zip(query.double(), key.double(), strict=True):
        positive = torch.exp(q @ k / 0.2)
        losses.append(-torch.log(positive / (positive + torch.exp(q @ queue.double() / 0.2).sum())))
    expected = torch.stack(losses).mean().item()
    assert infonce_queue(query, key, queue, 0.2).item() == pytest.approx(expected, abs=1e-5)


def test_small_temperatures_stay_finite_under_autocast() -> None:
    z = torch.randn(16, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = infonce(z, torch.arange(8).repeat(2), 0.005)
    loss.backward()
    assert loss.isfinite() and z.grad is not None and z.grad.isfinite().all()
    torch.testing.assert_close(loss, infonce(z, torch.arange(8).repeat(2), 0.005))


def test_the_queue_form_is_float32_under_autocast_too() -> None:
    query, key = torch.randn(5, 4), torch.randn(5, 4)
    queue = F.normalize(torch.randn(4, 7), dim=0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = infonce_queue(query, key, queue, 0.02)
    torch.testing.assert_close(loss, infonce_queue(query, key, queue, 0.02))


def test_supcon_out_equals_the_formula_in_a_loop(z: torch.Tensor, exponentials: Any) -> None:
    classes = torch.tensor([0, 1, 2, 1, 0, 0, 1, 2, 1, 0])
    e, losses = exponentials(z, 0.2), []
    for i in range(10):
        everyone = sum(e[i, j] for j in range(10) if j != i)
        own = [j for j in range(10) if j != i and classes[j] == classes[i]]
        losses.append(-sum(torch.log(e[i, j] / everyone) for j in own) / len(own))
    loss = supcon_out(z, classes, 0.2)
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-10)
    assert torch.autograd.gradcheck(lambda z: supcon_out(z, classes, 0.2), z)


def test_supcon_out_is_above_supcon_in_and_equal_for_one_positive(
    z: torch.Tensor, images: torch.Tensor
) -> None:
    torch.testing.assert_close(supcon_out(z, images, 0.1), infonce(z, images, 0.1))
    classes = images % 2
    counts = (classes[:, None] == classes[None, :]).sum(1) - 1
    inside = infonce(z, classes, 0.1) + counts.double().log().mean()  # Jensen, arXiv 2004.11362
    assert supcon_out(z, classes, 0.1) > inside
