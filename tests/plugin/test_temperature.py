"""Curves, bounds, checks and construction; what needs a loss is in losses/test_stateful.py."""

from __future__ import annotations

import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import solo_dyntemp.temperature
from solo_dyntemp.names import TEMPERATURE_ENTRIES
from solo_dyntemp.temperature import (
    ConstantTemperature,
    CosineScheduleTemperature,
    CosineTemperature,
    DualConstantTemperature,
    ExponentialTemperature,
    FunctionTemperature,
    InvertedCosineTemperature,
    ISogCLRTemperature,
    LearnableTemperature,
    LinearTemperature,
    MACLTemperature,
    MonotoneCosineTemperature,
    PairMask,
    ShiftedCosineTemperature,
    ShuffledTemperature,
    StabilisedTemperature,
    Temperature,
    as_temperature,
    build_temperature,
    largest_logit,
    monotone_bound,
    temperature_keywords,
)

S = torch.linspace(-1, 1, 401, dtype=torch.float64)
RANGED = [
    CosineTemperature,
    ShiftedCosineTemperature,
    LinearTemperature,
    ExponentialTemperature,
    MonotoneCosineTemperature,
    InvertedCosineTemperature,
]
ranged = pytest.mark.parametrize("kind", RANGED, ids=lambda kind: kind.__name__)


@pytest.fixture(autouse=True)
def _quiet(request):
    """Some shapes are not monotone at 0.1 and 0.2; where that matters a test says so."""
    with warnings.catch_warnings():
        if "warns" not in request.node.name:
            warnings.filterwarnings("ignore", message=".*not monotone")
        yield


def at(temperature, *values):
    return temperature(torch.tensor(values, dtype=torch.float64)).tolist()


def test_cosine_is_the_papers_formula():
    low, high = 0.07, 0.2
    expected = low + 0.5 * (high - low) * (1 + torch.cos(math.pi * (1 + S)))
    torch.testing.assert_close(CosineTemperature(low, high)(S), expected)
    other = high - (high - low) * torch.cos(math.pi * S / 2) ** 2
    torch.testing.assert_close(CosineTemperature(low, high)(S), other)


def test_cosine_has_the_papers_properties():
    temperature = CosineTemperature(0.1, 0.2)
    assert at(temperature, -1, -0.5, 0, 0.5, 1) == pytest.approx([0.2, 0.15, 0.1, 0.15, 0.2])
    tau = temperature(S)
    torch.testing.assert_close(tau, tau.flip(0))
    assert (tau[:201].diff() < 0).all()
    assert (tau[200:].diff() > 0).all()
    slopes = temperature.derivative(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))
    assert slopes.abs().max() < 1e-15
    generator = torch.Generator().manual_seed(0)
    isotropic = torch.randn(200_000, generator=generator, dtype=torch.float64) / 128**0.5
    assert temperature(isotropic).mean().item() == pytest.approx(0.1019, abs=1e-4)


def test_shifted_cosine_is_the_authors_formula():
    temperature = ShiftedCosineTemperature(0.1, 0.2, shift=-0.4, scale=0.7)
    wave = 0.1 + 0.05 * (1 + torch.cos(math.pi * (S - 0.4) / 0.7))
    torch.testing.assert_close(temperature(S), torch.where(S <= 0.4, wave, 0.2 + 0 * S))
    assert at(temperature, -1, -0.3, 0.4, 1) == pytest.approx([0.2, 0.1, 0.2, 0.2])
    older = ShiftedCosineTemperature(0.1, 0.2, shift=0.2, scale=0.8)
    assert at(older, -1, -0.2, 0.5) == pytest.approx([0.1, 0.2, 0.2])
    plain = ShiftedCosineTemperature(0.1, 0.2, shift=-1, scale=1)
    torch.testing.assert_close(plain(S), CosineTemperature(0.1, 0.2)(S))


@ranged
def test_range_is_reached_and_kept(kind):
    temperature = kind(0.1, 0.2)
    tau = temperature(S)
    assert tau.min().item() == pytest.approx(0.1, abs=1e-12)
    assert tau.max().item() == pytest.approx(0.2, abs=1e-12)


@ranged
def test_derivative_is_the_curves_slope(kind):
    temperature = kind(0.1, 0.2)
    s = S[S.abs() > 1e-9].clone().requires_grad_()  # two curves have a kink at 0
    temperature(s).sum().backward()
    torch.testing.assert_close(temperature.derivative(s.detach()), s.grad, atol=1e-12, rtol=1e-9)


@ranged
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_buffers_give_the_same_values(kind, dtype):
    temperature, s = kind(0.1, 0.2), S.to(dtype)
    for function in (temperature, temperature.derivative):
        buffer = torch.empty_like(s)
        assert function(s, out=buffer) is buffer
        assert torch.equal(buffer, function(s))
        assert function(s).dtype == dtype


@ranged
def test_equal_bounds_are_a_constant(kind):
    temperature = kind(0.2, 0.2)
    torch.testing.assert_close(temperature(S), ConstantTemperature(0.2)(S))
    assert temperature.derivative(S).abs().max() == 0


@given(st.floats(0.01, 1), st.floats(1, 10), st.floats(-1, 1))
def test_any_range_is_kept(low, ratio, s):
    for kind in RANGED:
        (tau,) = at(kind(low, low * ratio), s)
        assert low * (1 - 1e-9) <= tau <= low * ratio * (1 + 1e-9)


@pytest.mark.parametrize(
    ("temperature", "bound"),
    [
        (CosineTemperature(0.1, 0.2), 1 + 1 / (math.pi / 4 - 0.5)),
        (ShiftedCosineTemperature(0.1, 0.2), 2.043),
        (LinearTemperature(0.1, 0.2), math.inf),
        (ExponentialTemperature(0.1, 0.2), math.inf),
    ],
    ids=["cosine", "shifted", "linear", "exponential"],
)
def test_monotone_bound(temperature, bound):
    assert monotone_bound(temperature) == pytest.approx(bound, abs=1e-3)


@ranged
def test_warns_exactly_beyond_the_bound(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = monotone_bound(kind(0.1, 0.2))
    if bound < math.inf:
        u = S / kind(0.1, 0.1 * bound * 0.999)(S)
        assert (u.diff() >= 0).all()
        with pytest.warns(UserWarning, match=r"s/tau\(s\) is not monotone.*monotone up to"):
            temperature = kind(0.1, 0.1 * bound * 1.01)
        fine = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
        assert ((fine / temperature(fine)).diff() < 0).any()
    else:
        assert ((S / kind(0.01, 10.0)(S)).diff() >= 0).all()


@pytest.mark.parametrize("pair", [(0.1, 0.2), (0.07, 0.2), (0.05, 0.2)])
def test_warns_not_at_the_papers_ranges(pair):
    CosineTemperature(*pair)


@pytest.mark.parametrize("pair", [(0.1, 0.5), (0.07, 0.5), (0.1, 1.0)])
def test_warns_at_wide_ranges(pair):
    for kind in (CosineTemperature, StabilisedTemperature, ShuffledTemperature):
        with pytest.warns(UserWarning, match=r"tau_max/tau_min is .* monotone up to 4\.504"):
            kind(*pair)


@ranged
@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 0.2, r"tau_min must be positive, got 0\.0"),
        (-0.1, 0.2, r"tau_min must be positive, got -0\.1"),
        (math.nan, 0.2, "tau_min must be finite, got nan"),
        (0.1, math.inf, "tau_max must be finite, got inf"),
        (0.3, 0.2, r"tau_min must not exceed tau_max, got 0\.3 > 0\.2"),
        ("0.1", 0.2, r"tau_min must be a number, got '0\.1'"),
        (True, 0.2, "tau_min must be a number, got True"),
    ],
)
def test_bad_ranges(kind, low, high, message):
    with pytest.raises(ValueError, match=message):
        kind(low, high)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConstantTemperature(0), "tau must be positive, got 0"),
        (lambda: ShiftedCosineTemperature(shift=2.0), r"shift must be in \[-1, 1\], got 2\.0"),
        (lambda: ShiftedCosineTemperature(scale=0.0), r"scale must be positive, got 0\.0"),
        (lambda: ExponentialTemperature(rate=-1.0), r"rate must be positive, got -1\.0"),
        (lambda: DualConstantTemperature(0.3, 0.2), "tau_min must not exceed tau_max"),
        (lambda: ShuffledTemperature(0.3, 0.2), "tau_min must not exceed tau_max"),
        (lambda: CosineScheduleTemperature(cycles=0), "cycles must be positive, got 0"),
        (lambda: StabilisedTemperature().set_progress(1.5), r"in \[0, 1\], got 1\.5"),
        (lambda: MACLTemperature(tau=-1.0), r"tau must be positive, got -1\.0"),
        (lambda: MACLTemperature(alpha=math.nan), "alpha must be finite, got nan"),
        (lambda: LearnableTemperature(tau=2.0), r"tau must be in \[0\.01, 1\.0\], got 2\.0"),
        (lambda: ISogCLRTemperature(size=0), "size must be a positive integer, got 0"),
        (lambda: ISogCLRTemperature(size=3, gamma=0), r"gamma must be in \(0, 1\], got 0"),
        (lambda: ISogCLRTemperature(size=3, eta=0.0), r"eta must be positive, got 0\.0"),
        (lambda: ISogCLRTemperature(size=3, clip=math.nan), "clip must be positive, got nan"),
        (lambda: ISogCLRTemperature(size=3, form="code "), "form must be one of code, paper, got"),
        (lambda: ISogCLRTemperature(3, tau_min=0.01), "tau_min must be at least 0.0125"),
        (lambda: as_temperature(None), "a Temperature, its name, a function or a number, got None"),
        (lambda: as_temperature(lambda s: s), "positive and finite on .* from -1"),
        (lambda: as_temperature(lambda s: s.sum()), r"keep the shape \(2001,\), got \(\)"),
    ],
)
def test_bad_values(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_values_are_compared_hashed_and_pickled():
    one = CosineTemperature(0.1, 0.2)
    assert one == CosineTemperature(0.1, 0.2) != CosineTemperature(0.1, 0.3)
    assert len({one, CosineTemperature(0.1, 0.2)}) == 1
    assert pickle.loads(pickle.dumps(one)) == one
    assert repr(one) == "CosineTemperature(tau_min=0.1, tau_max=0.2)"


def test_functions_are_wrapped_with_their_slope():
    temperature = as_temperature(lambda s: 0.1 + 0.1 * s.square())
    assert isinstance(temperature, FunctionTemperature)
    torch.testing.assert_close(temperature.derivative(S), 0.2 * S)
    buffer = torch.empty_like(S)
    assert temperature(S, out=buffer) is buffer
    flat = as_temperature(lambda s: torch.full_like(s, 0.3))
    assert flat.derivative(S).abs().max() == 0
    assert as_temperature(temperature) is temperature


def test_largest_logit_bounds_the_logits():
    assert largest_logit(CosineTemperature(0.1, 0.2)) == pytest.approx(
        (S / CosineTemperature(0.1, 0.2)(S)).max().item(), rel=1e-4
    )
    assert largest_logit(ConstantTemperature(0.01)) == pytest.approx(100)
    assert largest_logit(as_temperature(lambda s: 0.1 + s.abs())) == pytest.approx(10)


def test_dual_constant_knows_only_positive_and_negative():
    positive = torch.tensor([[True, False, False]])
    tau = DualConstantTemperature(0.1, 0.2).pairs(torch.rand(1, 3), PairMask(positive))
    torch.testing.assert_close(tau, torch.tensor([[0.2, 0.1, 0.1]]))


@pytest.mark.parametrize("columns", [3, 8, 40])
def test_shuffled_permutes_the_negatives_temperatures(columns):
    generator = torch.Generator().manual_seed(1)
    s = 2 * torch.rand(5, columns, generator=generator, dtype=torch.float64) - 1
    row, column = torch.arange(5)[:, None], torch.arange(columns)
    positive, itself = column == (row + 1) % columns, column == row
    tau = ShuffledTemperature(0.1, 0.2).pairs(s, PairMask(positive, itself))
    plain = CosineTemperature(0.1, 0.2)(s)
    negative = ~positive & ~itself
    for i in range(5):
        torch.testing.assert_close(tau[i][negative[i]].msort(), plain[i][negative[i]].msort())
        if negative[i].sum() > 1:
            assert (tau[i][negative[i]] != plain[i][negative[i]]).all()
    assert torch.equal(tau[~negative], plain[~negative])


def test_cosine_schedule_is_kukleva_and_survives_the_checkpoint():
    temperature = CosineScheduleTemperature(0.1, 1.0, cycles=5)
    epochs = torch.arange(2000)
    expected = 0.1 + 0.45 * (1 + torch.cos(2 * math.pi * epochs / 400))
    for epoch in (0, 100, 200, 333, 1999):
        temperature.set_progress(epoch / 2000)
        assert at(temperature, 0.3) == pytest.approx([expected[epoch].item()], rel=1e-5)
    other = CosineScheduleTemperature(0.1, 1.0, cycles=5)
    other.load_state_dict(temperature.state_dict())
    assert at(other, 0.3) == at(temperature, 0.3)


def test_stabilised_ends_constant():
    temperature = StabilisedTemperature(0.1, 0.2)
    assert at(temperature, 0, 1) == pytest.approx([0.1, 0.2])
    temperature.set_progress(1)
    assert at(temperature, 0, 1) == pytest.approx([0.2, 0.2])


def test_batch_temperatures_say_that_they_need_a_batch():
    with pytest.raises(NotImplementedError, match="only for a batch"):
        DualConstantTemperature()(S)


def test_every_name_builds_and_is_documented():
    for name, class_name, *_ in TEMPERATURE_ENTRIES:
        kind = getattr(solo_dyntemp.temperature, class_name)
        needs = {"size": 3, "dimension": 4}
        given = {key: needs[key] for key in temperature_keywords(name) if key in needs}
        temperature = build_temperature(name, **given)
        assert isinstance(temperature, Temperature)
        assert type(temperature) is kind
        assert 0 < temperature.tau_min <= temperature.tau_max
        assert "Args:" in kind.__doc__
        assert repr(temperature)


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("cosin", {}, "unknown temperature 'cosin'. Did you mean 'cosine'"),
        ("cosine", {"taumin": 0.1}, "no keyword 'taumin'. Did you mean 'tau_min'"),
        ("constant", {"tau_min": 0.1}, "It has: tau$"),
        ("isogclr", {}, "needs the keyword 'size'"),
        ("cosine", {"tau_min": 0}, "tau_min must be positive, got 0"),
    ],
)
def test_bad_configurations(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        build_temperature(name, **keywords)
