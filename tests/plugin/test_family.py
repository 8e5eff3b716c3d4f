"""Ranges, the learned curve, and what the temperatures of other papers refuse."""

from __future__ import annotations

import math

import pytest
import torch

from solo_dyntemp.losses import dyntemp_infonce, dyntemp_infonce_queue, dyntemp_ntxent
from solo_dyntemp.temperature import (
    ADNCETemperature,
    ArctanhTemperature,
    ClassFrequencyTemperature,
    ConstantTemperature,
    CosineTemperature,
    ExponentialTemperature,
    GloFNDTemperature,
    InvertedCosineTemperature,
    LinearTemperature,
    MMTSTemperature,
    MonotoneCosineTemperature,
    RGCLTemperature,
    SameClassTemperature,
    ShiftedCosineTemperature,
    SplineTemperature,
    Temperature,
    TempNetTemperature,
    UncertaintyTemperature,
    monotone_bound,
)

S = torch.linspace(-1, 1, 2001, dtype=torch.float64)
IMAGES = torch.arange(4).repeat(2)
quiet = pytest.mark.filterwarnings("ignore:.*not monotone")


@quiet
@pytest.mark.parametrize("kind", [CosineTemperature, ShiftedCosineTemperature])
def test_range_agrees_with_the_bound(kind: type[Temperature]) -> None:
    bound = monotone_bound(kind(0.1, 0.2))  # type: ignore[call-arg]
    assert kind(0.1, 0.0999 * bound).range().monotone  # type: ignore[call-arg]
    beyond = kind(0.1, 0.101 * bound)  # type: ignore[call-arg]
    found = beyond.range()
    assert found.monotone is False
    assert (found.tau_min, found.tau_max) == pytest.approx((beyond.tau_min, beyond.tau_max))
    assert beyond.range(-0.2, 0.2).monotone  # the logit turns elsewhere


def test_range_of_what_a_similarity_does_not_decide() -> None:
    found = SameClassTemperature(size=3, tau_min=0.1, tau_max=0.4).range()
    assert (found.tau_min, found.tau_max, found.monotone) == (0.1, 0.4, None)


def test_arctanh_is_the_log_odds_and_its_gradient_always_flows() -> None:
    inner = S[S.abs() < 0.9999]
    tau = ArctanhTemperature()
    torch.testing.assert_close(inner / tau(inner), torch.log((1 + inner) / (1 - inner)))
    z = torch.randn(8, 3, dtype=torch.float64)
    gradients = []
    for detach in (True, False):
        leaf = z.clone().requires_grad_()
        dyntemp_infonce(leaf, IMAGES, temperature=tau, detach_temperature=detach).backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def test_the_odds_of_arctanh_are_the_exponential_of_its_logit() -> None:
    tau, s = ArctanhTemperature(), S.clone().requires_grad_()
    s.data[0], s.data[-1] = -1 - 1e-9, 1 + 1e-9  # as rounding gives them
    expected = (s / tau(s)).exp()
    (slope,) = torch.autograd.grad(expected.sum(), s)
    for function, values in ((tau.odds, expected.detach()), (tau.odds_slope, slope)):
        buffer = torch.empty_like(S)
        assert function(s.detach(), out=buffer) is buffer
        torch.testing.assert_close(buffer, values, rtol=1e-8, atol=1e-12)
        assert torch.equal(buffer, function(s.detach()))
    assert slope[0].abs() <= 1e-12 and slope[-1] == 0 and expected[-1].log() <= 10.4
    with pytest.raises(NotImplementedError, match="CosineTemperature has no fraction"):
        CosineTemperature(0.1, 0.2).odds(S)


# width of each curve is 0.1, that of arctanh 0.4; a kink at 0 lies between two knots
NESTED = [
    (ConstantTemperature(0.2), 1e-7),
    (CosineTemperature(0.1, 0.2), 6e-5),
    (MonotoneCosineTemperature(0.1, 0.2), 3e-6),
    (InvertedCosineTemperature(0.15, 0.2), 6e-5),
    (ShiftedCosineTemperature(0.1, 0.2), 2e-3),
    (LinearTemperature(0.1, 0.2), 7.5e-3),
    (ExponentialTemperature(0.1, 0.2), 2.5e-2),
]


@pytest.mark.parametrize(("curve", "error"), NESTED, ids=lambda value: type(value).__name__)
def test_the_spline_contains_every_shape(curve: Temperature, error: float) -> None:
    spline = SplineTemperature().double().fit(curve)
    assert (spline(S) - curve(S)).abs().max() <= error


def test_the_spline_contains_arctanh_but_for_its_ends() -> None:
    curve = ArctanhTemperature()
    distance = (SplineTemperature().double().fit(curve)(S) - curve(S)).abs()
    assert distance.square().mean().sqrt() <= 0.021
    assert distance[S.abs() < 0.95].max() <= 0.046


@pytest.mark.parametrize("direction", ["increasing", "decreasing"])
def test_a_directed_spline_is_monotone_whatever_its_parameters(direction: str) -> None:
    torch.manual_seed(0)
    for _ in range(20):
        spline = SplineTemperature(direction=direction).double()
        torch.nn.init.normal_(spline.shape, std=3)
        tau = spline(S)
        assert ((tau.diff() if direction == "increasing" else -tau.diff()) >= -1e-12).all()
        assert tau.min() >= 0.03 and tau.max() <= 1.0


def test_the_spline_learns_and_its_penalty_draws_it_back() -> None:
    torch.manual_seed(0)
    z, spread = torch.randn(8, 3), []
    for strength in (0.0, 10.0):
        spline = SplineTemperature(strength=strength, smooth=0.0)
        optimizer = torch.optim.Adam(spline.parameters(), lr=0.3)
        for _ in range(10):
            optimizer.zero_grad()
            dyntemp_infonce(z, IMAGES, temperature=spline).backward()
            optimizer.step()
        found = spline.range()
        spread.append(found.tau_max - found.tau_min)
    assert spread[0] > 2 * spread[1] > 0


def test_the_spline_slope_is_its_derivative() -> None:
    spline = SplineTemperature().double()
    torch.nn.init.normal_(spline.shape)
    numeric = (spline(S + 1e-6) - spline(S - 1e-6)) / 2e-6
    torch.testing.assert_close(spline.derivative(S), numeric.detach(), rtol=1e-6, atol=1e-8)


def test_glofnd_drops_nothing_before_its_start_and_the_classes_own_as_oracle() -> None:
    z = torch.nn.functional.normalize(torch.randn(8, 3, dtype=torch.float64))
    labels = torch.tensor([0, 0, 1, 2])
    oracle = GloFNDTemperature(size=4, start=0.5, form="oracle")
    oracle.use_labels(labels)
    early = dyntemp_infonce(z, IMAGES, temperature=oracle)
    torch.testing.assert_close(early, dyntemp_infonce(z, IMAGES, temperature=0.1))
    oracle.set_progress(0.5)
    s, classes = z @ z.T, labels.repeat(2)
    losses = []
    for i in range(8):
        positive = (s[i, (i + 4) % 8] / 0.1).exp()
        others = [j for j in range(8) if j % 4 != i % 4]
        kept = [j for j in others if classes[j] != classes[i]]
        total = sum((s[i, j] / 0.1).exp() for j in kept) * len(others) / len(kept)
        losses.append(-(positive / (positive + total)).log())
    found = dyntemp_infonce(z, IMAGES, temperature=oracle)
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_glofnd_without_adam_takes_plain_steps_and_rests_in_evaluation() -> None:
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    temperature = GloFNDTemperature(size=4, alpha=0.1, eta=0.5, start=0.0, adam=False)
    dyntemp_infonce(z, IMAGES, temperature=temperature)
    # nothing is above a threshold of 1, so h = alpha
    torch.testing.assert_close(temperature.threshold, torch.full((4,), 1 - 0.5 * 0.1))
    before = temperature.threshold.clone()
    dyntemp_infonce(z, IMAGES, temperature=temperature.eval())
    with torch.no_grad():
        dyntemp_infonce(z, IMAGES, temperature=temperature.train())
    assert torch.equal(before, temperature.threshold)


def test_an_anchor_whose_negatives_would_all_go_keeps_them() -> None:
    z = torch.ones(8, 3, dtype=torch.float64).requires_grad_()
    temperature = GloFNDTemperature(size=4, start=0.0)
    temperature.threshold.fill_(-1)
    temperature.eval()
    loss = dyntemp_infonce(z, IMAGES, temperature=temperature)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(7)) and z.grad.isfinite().all()  # type: ignore[union-attr]


def test_rgcl_finds_the_temperature_that_its_objective_wants() -> None:
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    ends = []
    for rho in (0.0, 3.0):
        temperature = RGCLTemperature(size=4, tau=0.3, rho=rho)
        optimizer = torch.optim.SGD(temperature.parameters(), lr=0.5)
        for _ in range(60):
            optimizer.zero_grad()
            leaf = z.clone().requires_grad_()
            dyntemp_infonce(leaf, IMAGES, temperature=temperature).backward()
            optimizer.step()
        ends.append(float((-temperature.log_scale.detach()).exp()))
    assert ends[0] > ends[1]  # the penalty lowers τ


def test_tempnet_gives_each_anchor_its_own_temperature() -> None:
    torch.manual_seed(0)
    temperature = TempNetTemperature(size=4, dimension=3, prototypes=8, dropout=0.0)
    tau = temperature.network(torch.nn.functional.normalize(torch.randn(8, 3)))
    assert tau.shape == (8,) and len(tau.unique()) > 1
    assert tau.min() > 0.05 and tau.max() < 0.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ArctanhTemperature(limit=1.0), r"limit must be in \(0\.5, 1 - 2\^-24\], got 1\.0"),
        (lambda: ADNCETemperature(sigma=0.0), r"sigma must be positive, got 0\.0"),
        (lambda: GloFNDTemperature(size=3, alpha=1.0), r"alpha must be in \(0, 1\), got 1\.0"),
        (lambda: GloFNDTemperature(size=3, start=2.0), r"start must be in \[0, 1\], got 2\.0"),
        (lambda: GloFNDTemperature(size=3, form="fnd"), "form must be one of learned, oracle, got"),
        (lambda: GloFNDTemperature(size=0), "size must be a positive integer, got 0"),
        (lambda: RGCLTemperature(size=3, tau=0.9), r"tau must be in \[0\.05, 0\.7\], got 0\.9"),
        (lambda: TempNetTemperature(3, 0), "dimension must be a positive integer, got 0"),
        (lambda: TempNetTemperature(3, 4, dropout=1.0), r"dropout must be in \[0, 1\), got 1\.0"),
        (lambda: UncertaintyTemperature(tau=0), "tau must be positive, got 0"),
        (lambda: SplineTemperature(tau=1.0), r"tau must be inside \(0\.03, 1\.0\), got 1\.0"),
        (lambda: SplineTemperature(smooth=-1.0), r"smooth must not be negative, got -1\.0"),
        (lambda: SplineTemperature(direction="up"), "direction must be one of free, increasing"),
        (lambda: MMTSTemperature(size=3, alpha=0.2), r"alpha must be in \[0, 0\.1\), got 0\.2"),
        (
            lambda: dyntemp_ntxent(
                torch.eye(2), torch.eye(2), temperature=ClassFrequencyTemperature(2),
                indexes=torch.arange(2),
            ),
            "needs the labels of the training images",
        ),
        (
            lambda: ClassFrequencyTemperature(2).use_labels(torch.tensor([0, -1])),
            "a label for every image, 1 have none",
        ),
        (
            lambda: dyntemp_ntxent(
                torch.ones(2, 1), torch.ones(2, 1), temperature=UncertaintyTemperature()
            ),
            r"reads 1 output of the head besides the embedding, got shape \(4, 1\)",
        ),
    ],
)  # fmt: skip
def test_bad_values(call, message):  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


def test_an_oracle_of_pairs_refuses_a_queue() -> None:
    oracle = SameClassTemperature(size=2)
    oracle.use_labels(torch.arange(2))
    with pytest.raises(ValueError, match="use a loss without a queue"):
        dyntemp_infonce_queue(
            torch.eye(2), torch.eye(2), torch.ones(2, 3), temperature=oracle,
            indexes=torch.arange(2),
        )  # fmt: skip
