from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.losses import sigmoid_pairs


def test_it_is_the_papers_double_sum(z: Tensor) -> None:
    z1, z2 = z.chunk(2)
    scale, bias = 7.0, -3.0
    total = 0.0
    for i, one in enumerate(F.normalize(z1.detach(), dim=1)):
        for j, other in enumerate(F.normalize(z2.detach(), dim=1)):
            label = 1 if i == j else -1
            total += math.log1p(math.exp(-label * (scale * float(one @ other) + bias)))
    loss = sigmoid_pairs(z1, z2, torch.tensor(math.log(scale)).double(), torch.tensor(bias))
    assert loss.item() == pytest.approx(total / 5, rel=1e-7)


def test_equal_pairs_have_a_closed_form() -> None:
    z = torch.ones(6, 3)
    loss = sigmoid_pairs(z, z, torch.tensor(0.0), torch.tensor(1.0))
    expected = math.log1p(math.exp(-2)) + 5 * math.log1p(math.exp(2))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_gradients_reach_rows_scale_and_bias(z: Tensor) -> None:
    inputs = (*z.chunk(2), *(torch.tensor(v, dtype=torch.float64) for v in (1.0, -2.0)))
    inputs = tuple(value.detach().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(sigmoid_pairs, inputs)


def test_swapping_the_views_changes_nothing(z: Tensor) -> None:
    z1, z2 = z.chunk(2)
    scale, bias = torch.tensor(2.3), torch.tensor(-10.0)
    torch.testing.assert_close(
        sigmoid_pairs(z1, z2, scale, bias), sigmoid_pairs(z2, z1, scale, bias)
    )
