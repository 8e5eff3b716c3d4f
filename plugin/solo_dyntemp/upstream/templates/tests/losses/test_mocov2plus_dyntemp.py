import torch
import torch.nn.functional as F
from solo.losses import mocov2plus_dyntemp_loss_func, mocov2plus_loss_func


def gen_features():
    query, key = (F.normalize(torch.randn(32, 16), dim=1) for _ in range(2))
    return query.requires_grad_(), key, F.normalize(torch.randn(16, 500), dim=0)


def test_mocov2plus_dyntemp_loss_is_mocov2plus_loss_for_equal_taus():
    query, key, queue = gen_features()

    loss = mocov2plus_loss_func(query, key, queue, temperature=0.2)
    dyntemp_loss = mocov2plus_dyntemp_loss_func(query, key, queue, tau_min=0.2, tau_max=0.2)
    assert torch.allclose(loss, dyntemp_loss, atol=1e-5)

    gradients = [torch.autograd.grad(out, query)[0] for out in [loss, dyntemp_loss]]
    assert torch.allclose(*gradients, atol=1e-5)


def test_mocov2plus_dyntemp_loss_by_hand():
    query = torch.eye(2)
    queue = torch.tensor([[-1.0], [0.0]])
    loss = mocov2plus_dyntemp_loss_func(query, query, queue, tau_min=0.1, tau_max=0.5)
    # similarity 1 with the key; -1 and 0 with the queue
    logits = torch.tensor([[2.0, -2.0], [2.0, 0.0]])
    assert torch.allclose(loss, F.cross_entropy(logits, torch.tensor([0, 0])))


def test_mocov2plus_dyntemp_loss():
    query, key, queue = gen_features()
    initial_loss = mocov2plus_dyntemp_loss_func(query, key, queue).item()

    for _ in range(20):
        loss = mocov2plus_dyntemp_loss_func(F.normalize(query, dim=1), key, queue)
        loss.backward()
        query.data.add_(-0.5 * query.grad)
        query.grad = None

    assert loss < initial_loss
