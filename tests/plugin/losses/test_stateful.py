"""Temperatures that need the loss: of a batch, of a sample, trained, over time."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lightly.loss import MACLLoss, NTXentLoss

from solo_dyntemp.losses import (
    DynTempInfoNCE,
    dyntemp_dcl,
    dyntemp_infonce,
    dyntemp_infonce_queue,
    dyntemp_paired,
    dyntemp_supcon,
)
from solo_dyntemp.losses.kernels import dense
from solo_dyntemp.temperature import (
    TEMPERATURES,
    ConstantTemperature,
    CosineScheduleTemperature,
    CosineTemperature,
    DualConstantTemperature,
    DualTemperature,
    ISogCLRTemperature,
    LearnableTemperature,
    MACLTemperature,
    ShuffledTemperature,
    StabilisedTemperature,
    build_temperature,
)

N = 6
INDEXES = torch.arange(N).repeat(2)


def projections(requires_grad=True):
    return torch.randn(2 * N, 8, dtype=torch.float64).requires_grad_(requires_grad)


@pytest.fixture(params=["whole", "blocks"])
def _blocks(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(dense, "LARGEST_BLOCK", 5 * 2 * N)


@pytest.mark.parametrize("name", TEMPERATURES)
def test_every_temperature_works_in_every_loss(name):
    temperature = build_temperature(name, **({"size": N} if name == "isogclr" else {}))
    z = projections()
    images = torch.arange(N)
    queue = torch.randn(8, 20, dtype=torch.float64)
    losses = [
        dyntemp_infonce(z, INDEXES, temperature=temperature),
        dyntemp_infonce_queue(z[:N], z[N:], queue, temperature=temperature, indexes=images),
        dyntemp_dcl(z[:N], z[N:], temperature=temperature, sigma=0.5, indexes=images),
        dyntemp_paired(z[:N], z[N:], temperature=temperature, symmetric=True, indexes=images),
    ]
    if name != "isogclr":  # labels are no data set indexes
        losses.append(dyntemp_supcon(z, INDEXES, temperature=temperature))
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
@pytest.mark.parametrize(("alpha", "a0"), [(0.5, 0.0), (1.0, 0.5)])
def test_macl_is_lightlys(gradients, assert_same, implementation, alpha, a0):
    theirs = MACLLoss(temperature=0.1, alpha=alpha, A_0=a0)
    z = projections()
    expected = gradients(lambda z: theirs(z[:N], z[N:]), z)
    actual = gradients(
        lambda z: dyntemp_infonce(
            z,
            INDEXES,
            temperature=MACLTemperature(0.1, alpha, a0),
            implementation=implementation,
        ),
        z,
    )
    assert_same(actual, expected, 1e-6)


@pytest.mark.usefixtures("_blocks")
def test_dual_constant_equals_its_definition(gradients, assert_same):
    def expected(z):
        unit = torch.nn.functional.normalize(z)
        itself = torch.eye(2 * N, dtype=torch.bool)
        positive = (INDEXES[:, None] == INDEXES) & ~itself
        tau = torch.full_like(unit @ unit.T, 0.1).masked_fill(positive, 0.2)
        logits = unit @ unit.T / tau
        logits = logits.masked_fill(itself, -torch.inf)
        return (logits.logsumexp(1) - logits[positive]).mean()

    z = projections()
    actual = gradients(
        lambda z: dyntemp_infonce(z, INDEXES, temperature=DualConstantTemperature(0.1, 0.2)), z
    )
    assert_same(actual, gradients(expected, z), 1e-10)


@pytest.mark.usefixtures("_blocks")
def test_shuffled_differs_but_has_the_same_positives():
    z = projections()
    shuffled = dyntemp_infonce(z, INDEXES, temperature=ShuffledTemperature(0.1, 0.2))
    plain = dyntemp_infonce(z, INDEXES, temperature=CosineTemperature(0.1, 0.2))
    assert shuffled != plain
    assert shuffled.item() == pytest.approx(plain.item(), rel=0.5)
    equal = dyntemp_infonce(z, INDEXES, temperature=ShuffledTemperature(0.2, 0.2))
    torch.testing.assert_close(equal, dyntemp_infonce(z, INDEXES, temperature=0.2))


@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_dual_temperature_weighs_each_anchor(gradients, assert_same, implementation):
    def expected(z):
        unit = torch.nn.functional.normalize(z)
        s = (unit @ unit.T).masked_fill(torch.eye(2 * N, dtype=torch.bool), -torch.inf)
        other = (torch.arange(2 * N) + N) % (2 * N)

        def log_p(tau):
            return (s / tau).log_softmax(1)[torch.arange(2 * N), other]

        weight = (1 - log_p(1.0).exp()) / (1 - log_p(0.1).exp())
        return -(weight.detach() * log_p(0.1)).mean()

    z = projections()
    actual = gradients(
        lambda z: dyntemp_infonce(
            z, INDEXES, temperature=DualTemperature(0.1, 10), implementation=implementation
        ),
        z,
    )
    assert_same(actual, gradients(expected, z), 1e-10)


@pytest.mark.parametrize("detach", [True, False])
def test_learnable_gets_the_gradient_of_the_temperature(detach):
    z, step = projections(requires_grad=False), 1e-6
    module = DynTempInfoNCE(LearnableTemperature(0.1), detach_temperature=detach).double()
    module(z, INDEXES).backward()
    (scale,) = module.parameters()
    high, low = (
        dyntemp_infonce(z, INDEXES, temperature=math.exp(d - scale.item())) for d in (-step, step)
    )
    numeric = (high - low).item() / (2 * step)
    assert scale.grad.item() == pytest.approx(numeric, rel=1e-3)


def test_learnable_stays_in_its_range():
    temperature = LearnableTemperature(0.02, tau_min=0.01)
    with torch.no_grad():
        temperature.log_scale.fill_(9.0)
    loss = dyntemp_infonce(projections(), INDEXES, temperature=temperature)
    torch.testing.assert_close(
        temperature(torch.zeros(1)).detach(), torch.tensor([0.01]), rtol=1e-5, atol=0
    )
    assert loss.isfinite()


def test_learnable_refuses_the_tiled_kernel():
    with pytest.raises(ValueError, match="use implementation='dense'"):
        dyntemp_infonce(
            projections(), INDEXES, temperature=LearnableTemperature(), implementation="tiled"
        )


@pytest.mark.parametrize("kind", [CosineScheduleTemperature, StabilisedTemperature])
def test_schedules_may_move_on_before_the_backward_pass(gradients, kind):
    temperature, z = kind(0.1, 0.2), projections()
    temperature.set_progress(0.05)
    frozen = copy.deepcopy(temperature)
    expected = gradients(
        lambda z: dyntemp_infonce(z, INDEXES, temperature=frozen, implementation="tiled"), z
    )
    leaf = z.detach().clone().requires_grad_()
    loss = dyntemp_infonce(leaf, INDEXES, temperature=temperature, implementation="tiled")
    temperature.set_progress(0.9)
    loss.backward()
    assert torch.equal(leaf.grad, expected[1])


def isogclr_by_hand(s, temperature):
    """One step of the algorithm with loops; returns loss gradient w.r.t. s, u and tau."""
    tau, average = temperature.tau.double(), temperature.average.double()
    momentum = temperature.momentum.double()
    gradient = torch.zeros_like(s)
    new = {}
    for k in range(N):
        anchors = [k, k + N]
        g, slope, pulls = [], [], []
        for i in anchors:
            p = (i + N) % (2 * N)
            others = [j for j in range(2 * N) if j not in (i, p)]
            h = s[i, others] - s[i, p]
            e = (h / tau[k]).exp() / len(others)
            g.append(e.sum())
            slope.append(-(e * h).sum() / tau[k] ** 2)
            pulls.append((i, p, others, e))
        g_mean, slope_mean = torch.stack(g).mean(), torch.stack(slope).mean()
        u = g_mean
        if average[k] != 0:
            u = (1 - temperature.gamma) * average[k] + temperature.gamma * g_mean
        v = u.log() + temperature.rho + tau[k] * slope_mean / u
        m = (1 - temperature.beta) * momentum[k] + temperature.beta * v
        new[k] = (u, (tau[k] - temperature.eta * m).clamp(temperature.tau_min, 0.7))
        for i, p, others, e in pulls:
            gradient[i, others] += e / u / (2 * N)
            gradient[i, p] -= e.sum() / u / (2 * N)
    return gradient, *map(torch.stack, zip(*new.values(), strict=True))


@pytest.mark.usefixtures("_blocks")
def test_isogclr_follows_its_algorithm():
    temperature = ISogCLRTemperature(size=N, tau=0.2).double()
    for _ in range(3):
        z = projections()
        unit = torch.nn.functional.normalize(z)
        s = unit @ unit.T
        by_hand, average, tau = isogclr_by_hand(s.detach(), temperature)
        (expected,) = torch.autograd.grad(s, z, by_hand)
        loss = dyntemp_infonce(z, INDEXES, temperature=temperature)
        loss.backward()
        torch.testing.assert_close(z.grad, expected, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(temperature.average, average)
        torch.testing.assert_close(temperature.tau, tau)
    assert temperature.tau.unique().numel() > 1


def test_isogclr_state_is_saved_and_rests_in_evaluation():
    module = DynTempInfoNCE(ISogCLRTemperature(size=2 * N))
    module(projections(), INDEXES)
    state = copy.deepcopy(module.state_dict())
    assert {"temperature.tau", "temperature.average", "temperature.momentum"} <= set(state)
    assert state["temperature.average"][:N].min() > 0
    assert state["temperature.average"][N:].max() == 0
    module.eval()(projections(), INDEXES)
    with torch.no_grad():
        module.train()(projections(), INDEXES)
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())
    other = DynTempInfoNCE(ISogCLRTemperature(size=2 * N))
    other.load_state_dict(state)
    assert torch.equal(other.temperature.tau, module.temperature.tau)


def test_isogclr_needs_indexes_of_the_data_set():
    z = projections()
    temperature = ISogCLRTemperature(size=3)
    with pytest.raises(ValueError, match=r"in \[0, 3\), got up to 5"):
        dyntemp_infonce(z, INDEXES, temperature=temperature)
    with pytest.raises(ValueError, match="needs the data set indexes"):
        dyntemp_paired(z, z, temperature=temperature)


def test_a_module_as_function_trains_through_the_dense_kernel():
    class Scale(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(0.1))

        def forward(self, s):
            return 0.1 + self.weight * s.square()

    module = DynTempInfoNCE(Scale())
    assert [name for name, _ in module.named_parameters()] == ["temperature.function.weight"]
    module(projections(), INDEXES).backward()
    assert module.temperature.function.weight.grad.abs() > 0


def test_constant_schedule_is_lightlys(gradients, assert_same):
    theirs, z = NTXentLoss(temperature=0.5), projections()
    schedule = CosineScheduleTemperature(0.5, 0.5)
    actual = gradients(lambda z: dyntemp_infonce(z, INDEXES, temperature=schedule), z)
    assert_same(actual, gradients(lambda z: theirs(z[:N], z[N:]), z), 1e-10)
    same = gradients(lambda z: dyntemp_infonce(z, INDEXES, temperature=ConstantTemperature(0.5)), z)
    assert_same(actual, same, 1e-10)
