"""Temperatures of a pair's similarity alone: small frozen value objects, one formula each.

The loss's `detach_temperature` decides whether a gradient passes through them. The formulas use
only operations that `losses.kernels.formula` knows, so that the Triton kernels can compute them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solo_dyntemp.temperature.base import (
    Temperature,
    check_finite,
    check_positive,
    check_range,
    warn_unless_monotone,
)

NEAR_ZERO = 1e-4  # below this |s|, s / artanh(s) is 1 to 3e-9
LARGEST = 1 - 2**-24  # of the 32-bit numbers below 1


@dataclass(frozen=True)
class ConstantTemperature(Temperature):
    """The same temperature for every pair: plain NT-Xent.

    Args:
        tau: the temperature, positive.

    Raises:
        ValueError: tau is not positive and finite.

    >>> ConstantTemperature(0.2)(torch.tensor([-1.0, 0.5]))
    tensor([0.2000, 0.2000])
    """

    tau: float = 0.2

    def __post_init__(self) -> None:
        check_positive(tau=self.tau)

    @property
    def tau_min(self) -> float:  # type: ignore[override]
        """The temperature."""
        return self.tau

    @property
    def tau_max(self) -> float:  # type: ignore[override]
        """The temperature."""
        return self.tau

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return tau for every element of `s`."""
        return torch.full_like(s, self.tau) if out is None else out.fill_(self.tau)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(s) if out is None else out.zero_()


@dataclass(frozen=True)
class _Ranged(Temperature):
    """A curve between tau_min and tau_max; warns when s/tau(s) is not monotone."""

    tau_min: float = 0.1
    tau_max: float = 0.2

    def __post_init__(self) -> None:
        check_range(self.tau_min, self.tau_max)
        warn_unless_monotone(self)

    @property
    def width(self) -> float:
        """Difference of tau_max and tau_min."""
        return self.tau_max - self.tau_min

    def middle(self, dtype: torch.dtype) -> Tensor:
        """Return the middle of the range, as a tensor, so that one operation scales and shifts."""
        return torch.tensor((self.tau_min + self.tau_max) / 2, dtype=dtype)


@dataclass(frozen=True)
class CosineTemperature(_Ranged):
    r"""DySTreSS: τ(s) = τ_min + ½ (τ_max - τ_min) (1 + cos(π (1 + s))).

    τ_min at s = 0 and τ_max at s = ±1: similar pairs (positives and false negatives) and opposite
    pairs get a high temperature. Source: arXiv 2308.01140. Computed as cos(π(1+s)) = -cos(πs).
    Typical ranges: 0.07-0.2 (CIFAR), 0.1-0.2 (ImageNet), 0.04-0.05 (sentences).

    Args:
        tau_min: temperature at s = 0.
        tau_max: temperature at s = ±1.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.

    >>> CosineTemperature(0.1, 0.2)(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    tensor([0.2000, 0.1500, 0.1000, 0.1500, 0.2000])
    """

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        cosine = torch.mul(s, math.pi, out=out).cos_()
        return torch.sub(self.middle(s.dtype), cosine, alpha=self.width / 2, out=out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds = ½ π (τ_max - τ_min) sin(πs)."""
        return torch.mul(s, math.pi, out=out).sin_().mul_(math.pi / 2 * self.width)


@dataclass(frozen=True)
class ShiftedCosineTemperature(_Ranged):
    r"""DySTreSS with a plateau: τ = τ_min + ½ (τ_max - τ_min)(1 + cos(π min(s + Δ, 0) / k)).

    So τ = τ_max for s > -Δ. Source: the authors' code for NT-Xent and SimCSE, Δ = `shift`,
    k = `scale`. Minimum at s = -Δ - k. The defaults put it at -0.3 and the plateau on [0.4, 1];
    τ(-1) = τ_max only if k = (1 - Δ)/2. Δ = 0.2, k = 0.8 is the authors' older
    `cosconst`; Δ = -1, k = 1 is `CosineTemperature`.

    Args:
        tau_min: lowest temperature.
        tau_max: temperature of the plateau.
        shift: Δ; the plateau begins at s = -Δ; in [-1, 1].
        scale: k, half the period of the cosine, positive.

    Raises:
        ValueError: a value is outside its range.

    >>> ShiftedCosineTemperature(0.1, 0.2)(torch.tensor([-1.0, -0.3, 0.4, 1.0]))
    tensor([0.2000, 0.1000, 0.2000, 0.2000])
    """

    shift: float = -0.4
    scale: float = 0.7

    def __post_init__(self) -> None:
        check_finite(shift=self.shift)
        check_positive(scale=self.scale)
        if not -1 <= self.shift <= 1:
            raise ValueError(f"shift must be in [-1, 1], got {self.shift}")
        super().__post_init__()

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        # cos(0) = 1 is the plateau's value, so clamping the argument at 0 makes the plateau
        angle = torch.add(s, self.shift, out=out).clamp_(max=0).mul_(math.pi / self.scale)
        return torch.add(self.middle(s.dtype), angle.cos_(), alpha=self.width / 2, out=out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds; 0 on the plateau."""
        angle = torch.add(s, self.shift, out=out).clamp_(max=0).mul_(math.pi / self.scale)
        return angle.sin_().mul_(-math.pi / self.scale * self.width / 2)


@dataclass(frozen=True)
class LinearTemperature(_Ranged):
    """An ablation: τ(s) = τ_min + (τ_max - τ_min) |s|. s/τ(s) is always monotone.

    Source: DySTreSS (arXiv 2308.01140) names a linear form; its formula is not published.

    Args:
        tau_min: temperature at s = 0.
        tau_max: temperature at s = ±1.

    >>> LinearTemperature(0.1, 0.2)(torch.tensor([-1.0, 0.5, 0.0]))
    tensor([0.2000, 0.1500, 0.1000])
    """

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        return torch.abs(s, out=out).mul_(self.width).add_(self.tau_min)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds; 0 at the kink s = 0."""
        return torch.sign(s, out=out).mul_(self.width)


@dataclass(frozen=True)
class ExponentialTemperature(_Ranged):
    r"""An ablation: τ(s) = τ_min + (τ_max - τ_min) (1 - e^{-c|s|}) / (1 - e^{-c}).

    Source: the form a - b e^{-c|s|} of the authors' first upload, with a | b | c = 0.2 | 0.1 | 3.5,
    here parametrised by its values at 0 and ±1 (there 0.1 and 0.197).

    Args:
        tau_min: temperature at s = 0.
        tau_max: temperature at s = ±1.
        rate: c, positive.

    >>> ExponentialTemperature(0.1, 0.2)(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0.2000, 0.1000, 0.2000])
    """

    rate: float = 3.5

    def __post_init__(self) -> None:
        check_positive(rate=self.rate)
        super().__post_init__()

    @property
    def height(self) -> float:
        """Factor of 1 - e^{-c|s|}."""
        return -self.width / math.expm1(-self.rate)

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        decay = torch.abs(s, out=out).mul_(-self.rate).expm1_()
        # autograd needs the result of expm1, so it is overwritten only if there is a buffer
        return torch.mul(decay, -self.height, out=out).add_(self.tau_min)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds; at the kink s = 0 the slope to the right."""
        decay = torch.abs(s, out=out).mul_(-self.rate).exp_()
        return decay.mul_(self.height * self.rate).copysign_(s)


@dataclass(frozen=True)
class MonotoneCosineTemperature(_Ranged):
    r"""An ablation: τ(s) = τ_min + ½ (τ_max - τ_min)(1 - cos(½π(1 + s))): grows over [-1, 1].

    Source: DySTreSS (arXiv 2308.01140) names a monotonic cosine; its formula is not published.

    Args:
        tau_min: temperature at s = -1.
        tau_max: temperature at s = 1.

    >>> MonotoneCosineTemperature(0.1, 0.2)(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([0.1000, 0.1500, 0.2000])
    """

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        sine = torch.mul(s, math.pi / 2, out=out).sin_()  # -cos(½π(1+s)) = sin(½πs)
        return torch.add(self.middle(s.dtype), sine, alpha=self.width / 2, out=out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds."""
        return torch.mul(s, math.pi / 2, out=out).cos_().mul_(math.pi / 4 * self.width)


@dataclass(frozen=True)
class InvertedCosineTemperature(_Ranged):
    r"""A control: τ(s) = τ_min + ½ (τ_max - τ_min)(1 + cos(πs)): τ_max at 0, τ_min at ±1.

    Source: the authors' code of 16 May 2023, which uses it for negatives only.

    Args:
        tau_min: temperature at s = ±1.
        tau_max: temperature at s = 0.

    >>> InvertedCosineTemperature(0.1, 0.2)(torch.tensor([-1.0, 0.0, 0.5]))
    tensor([0.1000, 0.2000, 0.1500])
    """

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        cosine = torch.mul(s, math.pi, out=out).cos_()
        return torch.add(self.middle(s.dtype), cosine, alpha=self.width / 2, out=out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds."""
        return torch.mul(s, math.pi, out=out).sin_().mul_(-math.pi / 2 * self.width)


@dataclass(frozen=True)
class ArctanhTemperature(Temperature):
    r"""Temperature-free InfoNCE: the logit is log((1+s)/(1-s)) = 2 artanh s.

    So τ(s) = s / (2 artanh s): 0.5 at s = 0, falling to 0 at ±1: the opposite of DySTreSS.
    Source: Kim & Kim (arXiv 2501.17683). The source defines the logit, so the gradient always
    passes through τ, whatever `detach_temperature` says. At |s| = 1 the logit is infinite: beyond
    `limit` it stays constant, at ±10.4.

    Args:
        limit: the |s| from which the logit is constant, in (0.5, 1 - 2^-24].

    Raises:
        ValueError: limit is outside its range.

    >>> tau = ArctanhTemperature()(torch.tensor([-0.5, 0.0, 0.5]))
    >>> tau, torch.tensor([-0.5, 0.0, 0.5]) / tau
    (tensor([0.4551, 0.5000, 0.4551]), tensor([-1.0986,  0.0000,  1.0986]))
    """

    detachable: ClassVar[bool] = False
    rational: ClassVar[bool] = True
    limit: float = 1 - 2**-14  # a 32-bit number

    def __post_init__(self) -> None:
        check_finite(limit=self.limit)
        if not 0.5 < self.limit <= LARGEST:
            raise ValueError(f"limit must be in (0.5, 1 - 2^-24], got {self.limit}")

    @property
    def tau_min(self) -> float:  # type: ignore[override]
        """The temperature at |s| = limit."""
        return self.limit / (2 * math.atanh(self.limit)) * (1 - 1e-6)  # of 32 bits, rounded down

    @property
    def tau_max(self) -> float:  # type: ignore[override]
        """The temperature at s = 0."""
        return 0.5

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s)."""
        size = torch.abs(s, out=out).clamp_(min=NEAR_ZERO)
        return torch.div(size, size.clamp(max=self.limit).atanh().mul_(2), out=out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds = sign(s) (1 - 2τ / (1 - s²)) / (2 artanh |s|); beyond `limit` τ/s."""
        size = torch.abs(s, out=out).clamp_(min=NEAR_ZERO, max=self.limit)
        logit = torch.atanh(size).mul_(2)
        growth = torch.sub(1, size).mul_(torch.add(size, 1)).mul_(logit)  # (1 - s²) logit
        inside = torch.sub(self.limit, torch.abs(s)).sign_().clamp_(min=0)
        slope = torch.div(size.mul_(-2), growth, out=out).mul_(inside).add_(1).div_(logit)
        return slope.mul_(torch.sign(s))

    def odds(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return (1+s)/(1-s)."""
        kept = torch.clamp(s, min=-self.limit, max=self.limit)
        above = torch.add(kept, 1, out=out)
        return torch.div(above, kept.neg_().add_(1), out=out)

    def odds_slope(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return 2/(1-s)²; 0 beyond `limit`."""
        distance = torch.sub(1, s, out=out)
        slope = torch.div(2, distance.mul_(distance), out=out)
        # selects, so that an infinity at s = 1 is 0; a comparison and a fill take six times as long
        select = torch.ops.aten.hardtanh_backward
        if out is None:
            return select(slope, s, -self.limit, self.limit)  # type: ignore[no-any-return]
        select.grad_input(slope, s, -self.limit, self.limit, grad_input=out)
        return out
