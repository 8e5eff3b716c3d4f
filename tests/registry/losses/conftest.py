"""Rows to compare, and the plain exponentials that the slow references are made of."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


@pytest.fixture
def z() -> Tensor:
    """Projections (2*5, 4) of two views of five images, in double."""
    rows = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rows.requires_grad_()


@pytest.fixture
def images() -> Tensor:
    """Which image each row of `z` shows."""
    return torch.arange(5).repeat(2)


@pytest.fixture
def exponentials() -> object:
    """Return a function: e^(s / temperature) of all pairs of rows."""

    def of(z: Tensor, temperature: float) -> Tensor:
        unit = F.normalize(z.detach().double(), dim=1)
        return torch.exp(unit @ unit.T / temperature)

    return of
