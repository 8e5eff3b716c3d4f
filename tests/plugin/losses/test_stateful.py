"""Temperatures that need the loss: of a batch, of a sample, trained, over time."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lightly.loss import MACLLoss, NTXentLoss

from solo_dyntemp.losses import (
    DynTempInfoNCE,
    dyntemp_infonce,
    dyntemp_paired,
)
from solo_dyntemp.losses.kernels import dense
from solo_dyntemp.temperature import (
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
)

N = 6
INDEXES = torch.arange(N).repeat(2)


def projections(requires_grad=True):
    return torch.randn(2 * N, 8, dtype=torch.float64).requires_grad_(requires_grad)


@pytest.fixture(params=["whole", "blocks"])
def _blocks(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(dense, "LARGEST_BLOCK", 5 * 2 * N)


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


class ISogCLRByHand:
    """The algorithm with loops in float64, for any number of views: `step` is one batch."""

    def __init__(self, size, tau, form="code", clip=3.0, rho=0.3, gamma=0.9, eta=0.01, beta=0.9):
        self.form, self.clip = form, clip
        self.rho, self.gamma, self.eta, self.beta = rho, gamma, eta, beta
        self.tau = torch.full((size,), tau).double()  # rounded to 32 bits, as in the module
        self.average = torch.zeros(size, dtype=torch.float64)
        self.momentum = torch.zeros(size, dtype=torch.float64)

    def step(self, s, images):
        """Move the state; return the gradient of the summed loss with respect to `s`."""
        gradient = torch.zeros_like(s)
        for k in images.unique().tolist():
            tau, averages, slopes = self.tau[k], [], []
            for i in (images == k).nonzero().flatten().tolist():
                others = (images != k).nonzero().flatten()
                views = [p for p in (images == k).nonzero().flatten().tolist() if p != i]
                share = (s[i, views] / tau).softmax(0)
                h = s[i, others]
                if self.form == "paper":
                    h = h - tau * (s[i, views] / tau).logsumexp(0)
                e = (h / tau).exp() / len(others)
                u = e.sum()
                if self.average[k] != 0:
                    u = (1 - self.gamma) * self.average[k] + self.gamma * e.sum()
                gradient[i, others] += e / u
                gradient[i, views] -= share * (e.sum() / u if self.form == "paper" else 1)
                averages.append(u)
                slope = h / tau
                if self.form == "paper" and len(views) > 1:  # h changes with tau
                    entropy = (share * share.log()).sum()
                    slope = slope - entropy
                slopes.append(u.log() + self.rho - (e * slope).sum() / u)
            mean = torch.stack(slopes).mean().clamp(-self.clip, self.clip)
            self.average[k] = torch.stack(averages).mean()
            self.momentum[k] = (1 - self.beta) * self.momentum[k] + self.beta * mean
            self.tau[k] = (tau - self.eta * self.momentum[k]).clamp(0.05, 0.7)
        return gradient


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize(("clip", "rho"), [(3.0, 0.3), (0.1, 4.0)])
@pytest.mark.parametrize("views", [2, 3])
def test_isogclr_follows_its_algorithm(form, clip, rho, views):
    size = 2 * N
    temperature = ISogCLRTemperature(size=size, tau=0.2, form=form, clip=clip, rho=rho).double()
    expected = ISogCLRByHand(size, 0.2, form, clip, rho)
    for count in (N, N, N - 2, N):  # some samples are seen again; a partial batch
        images = torch.randperm(size)[:count].repeat(views)
        z = torch.randn(views * count, 8, dtype=torch.float64, requires_grad=True)
        unit = torch.nn.functional.normalize(z)
        s = unit @ unit.T
        by_hand = expected.step(s.detach(), images) / len(images)
        (gradient,) = torch.autograd.grad(s, z, by_hand)
        dyntemp_infonce(z, images, temperature=temperature).backward()
        torch.testing.assert_close(z.grad, gradient, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(temperature.average, expected.average)
        torch.testing.assert_close(temperature.momentum, expected.momentum)
        torch.testing.assert_close(temperature.tau, expected.tau)
    assert temperature.tau.unique().numel() > 1


def test_isogclr_is_libaucs():
    libauc = pytest.importorskip("libauc.losses.contrastive")
    theirs = libauc.GCLoss_v1(N=2 * N, tau=0.2, enable_isogclr=True, device=torch.device("cpu"))
    for name in ("u", "learnable_tau", "grad_tau"):
        setattr(theirs, name, getattr(theirs, name).double())
    ours = ISogCLRTemperature(size=2 * N, tau=0.2, clip=math.inf).double()
    for epoch in range(4):
        theirs.adjust_gamma(epoch)
        for images in torch.randperm(2 * N).chunk(2):
            z = projections()
            pair = z.detach().clone().requires_grad_()
            theirs(pair[:N], pair[N:], images).backward()
            dyntemp_infonce(z, images.repeat(2), temperature=ours).backward()
            # they add the two anchors of an image, we take the mean over anchors
            torch.testing.assert_close(2 * z.grad, pair.grad, rtol=1e-8, atol=1e-8)
            for name in ("u", "learnable_tau", "grad_tau"):
                setattr(theirs, name, getattr(theirs, name).detach())
        torch.testing.assert_close(ours.average, theirs.u[:, 0])
        torch.testing.assert_close(ours.momentum, theirs.grad_tau[:, 0])
        torch.testing.assert_close(ours.tau, theirs.learnable_tau[:, 0])


def test_isogclr_counts_few_negatives_beside_a_near_positive():
    """At a low tau 32 bits cannot tell the denominator with the positive from the positive."""
    near = torch.nn.functional.normalize(torch.randn(N, 16, dtype=torch.float64))
    z = torch.cat([near, near + 1e-4 * torch.randn(N, 16, dtype=torch.float64)])
    states = []
    for kind in (torch.float32, torch.float64):
        temperature = ISogCLRTemperature(size=N, tau=0.05).to(kind)
        dyntemp_infonce(z.to(kind).requires_grad_(), INDEXES, temperature=temperature)
        states.append(temperature.average.double())
    torch.testing.assert_close(*states, rtol=1e-4, atol=0)


def test_isogclr_refuses_one_image():
    with pytest.raises(ValueError, match="at least two images"):
        dyntemp_infonce(projections()[:2], torch.zeros(2).long(), temperature=ISogCLRTemperature(3))


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
