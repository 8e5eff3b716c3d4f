from __future__ import annotations

import math

import pytest
import torch
from lightly.loss import MMCRLoss
from torch import Tensor

from solo_registry.losses import mmcr, normalize


@pytest.fixture
def views() -> Tensor:
    """Projections (5, 3, 6) of three views of five images, in double."""
    rows = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rows.requires_grad_()


@pytest.mark.parametrize("lmda", [0.0, 0.005, 1.0])
def test_on_unit_rows_it_is_lightlys_in_value_and_gradient(views: Tensor, lmda: float) -> None:
    ours = mmcr(torch.cat([views, views + 1], dim=1), lmda)
    theirs = MMCRLoss(lmda)(normalize(views), normalize(views + 1))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(loss, views)[0] for loss in (ours, theirs)))


@pytest.mark.parametrize("lmda", [0.0, 0.005, 1.0])
def test_with_a_momentum_network_it_is_the_papers_sum(views: Tensor, lmda: float) -> None:
    """The authors' code: both networks make the centroid, the trained one alone the manifold."""
    momentum = torch.randn(5, 2, 6, dtype=torch.float64)
    capacity, size = torch.zeros(5, 6, dtype=torch.float64), torch.zeros(())
    for image in range(5):
        rows = torch.stack([view / view.norm() for view in views[image]])
        others = torch.stack([view / view.norm() for view in momentum[image]])
        capacity[image] = (rows.sum(0) / 3 + others.sum(0) / 2) / 2
        size = size + torch.linalg.svdvals(rows).sum() / 5
    expected = lmda * size - torch.linalg.svdvals(capacity).sum()
    ours = mmcr(views, lmda, momentum)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, views, retain_graph=True)[0] for loss in (ours, expected))
    )


def test_the_gradient_is_that_of_the_value(views: Tensor) -> None:
    assert torch.autograd.gradcheck(lambda z: mmcr(z, 0.1), views)


def test_a_rotation_changes_nothing(views: Tensor) -> None:
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    torch.testing.assert_close(mmcr(views @ rotation, 0.1), mmcr(views, 0.1))


def test_one_point_is_the_worst_and_orthogonal_images_the_best() -> None:
    collapsed = torch.ones(4, 2, 8, requires_grad=True)
    loss = mmcr(collapsed, 0.0)
    assert loss.item() == pytest.approx(-math.sqrt(4), abs=1e-5)  # one singular value
    assert torch.autograd.grad(loss, collapsed)[0].isfinite().all()
    apart = torch.eye(8)[:4, None].expand(4, 2, 8)
    assert mmcr(apart, 0.0).item() == pytest.approx(-4)  # four of 1
