import pytest
import torch
from solo.losses import simclr_dyntemp_loss_func, simclr_loss_func
from solo.losses.simclr_dyntemp import dyntemp_temperature


def test_dyntemp_temperature():
    sim = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    expected = torch.tensor([0.2, 0.15, 0.1, 0.15, 0.2])
    assert torch.allclose(dyntemp_temperature(sim, 0.1, 0.2), expected)


@pytest.mark.parametrize("views", [2, 4])
def test_simclr_dyntemp_loss_is_simclr_loss_for_equal_taus(views):
    z = torch.randn(views * 16, 32)
    indexes = torch.arange(16).repeat(views)

    gradients, losses = [], []
    for loss_func, kwargs in [
        (simclr_loss_func, {"temperature": 0.2}),
        (simclr_dyntemp_loss_func, {"tau_min": 0.2, "tau_max": 0.2}),
    ]:
        leaf = z.clone().requires_grad_()
        losses.append(loss_func(leaf, indexes, **kwargs))
        gradients.append(torch.autograd.grad(losses[-1], leaf)[0])

    assert torch.allclose(*losses, atol=1e-5)
    assert torch.allclose(*gradients, atol=1e-5)


def test_simclr_dyntemp_loss_by_hand():
    # both images and both views: similarity 1 with the positive and 0 with the negatives
    z = torch.eye(2).repeat(2, 1)
    loss = simclr_dyntemp_loss_func(z, torch.arange(2).repeat(2), tau_min=0.1, tau_max=0.5)
    pos, neg = torch.tensor(1 / 0.5).exp(), torch.tensor(0.0).exp()
    assert torch.allclose(loss, -torch.log(pos / (pos + 2 * neg)))


def test_simclr_dyntemp_loss_detach_temperature():
    z = torch.randn(32, 8)
    indexes = torch.arange(16).repeat(2)

    gradients, losses = [], []
    for detach_temperature in [True, False]:
        leaf = z.clone().requires_grad_()
        losses.append(
            simclr_dyntemp_loss_func(leaf, indexes, detach_temperature=detach_temperature)
        )
        gradients.append(torch.autograd.grad(losses[-1], leaf)[0])

    assert torch.equal(*losses)
    assert not torch.allclose(*gradients, atol=1e-4)


def test_simclr_dyntemp_loss_is_finite_for_small_taus():
    z = torch.randn(32, 8)
    z[1] = z[0]
    z.requires_grad_()
    loss = simclr_dyntemp_loss_func(z, torch.arange(16).repeat(2), tau_min=0.005, tau_max=0.01)
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


def test_simclr_dyntemp_loss():
    b, f = 32, 128
    z = torch.randn(2 * b, f).requires_grad_()
    indexes = torch.arange(b).repeat(2)
    initial_loss = simclr_dyntemp_loss_func(z, indexes).item()

    for _ in range(20):
        loss = simclr_dyntemp_loss_func(z, indexes)
        loss.backward()
        z.data.add_(-0.5 * z.grad)
        z.grad = None

    assert loss < initial_loss
