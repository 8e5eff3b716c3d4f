"""The robust global contrastive objective, of which τ is a variable: iSogCLR, RGCL-g, TempNet.

It is the mean over samples k of τ_k log E_j exp((s_kj - s_kp) / τ_k) + ρ τ_k. The subclasses differ
in what τ_k is: a number of each sample, one number, or the output of a network.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from solo_dyntemp.gather import all_gather
from solo_dyntemp.temperature.base import (
    BatchContext,
    Outcome,
    Temperature,
    check_finite,
    check_range,
)
from solo_registry.metrics.pair_mask import PairMask

FORMS = {"code": 1, "paper": 2}  # the largest numerator of an exponent: s, or a difference of s
LARGEST_EXPONENT = 80  # exp(88.7) is the largest 32-bit number


class Samples:
    """The distinct samples of a batch, of all processes, and means over their anchors.

    Args:
        indexes: data set index of each anchor of this process, shape (M,).

    Attributes:
        indexes: data set index of each sample, shape (S,).
    """

    def __init__(self, indexes: Tensor) -> None:
        self.indexes, self.place, self.counts = torch.unique(
            all_gather(indexes), return_inverse=True, return_counts=True
        )

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over each sample's anchors, (S,), of a value of each anchor, (M,)."""
        sums = values.new_zeros(len(self.indexes)).index_add(0, self.place, all_gather(values))
        return torch.div(sums, self.counts)


def check_size(size: int) -> None:
    """Raise ValueError unless `size`, the number of images of a data set, is a positive integer."""
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be a positive integer, got {size!r}")


def check_share(**values: float) -> None:
    """Raise ValueError naming the first argument that is not in (0, 1]."""
    check_finite(**values)
    for name, value in values.items():
        if not 0 < value <= 1:
            raise ValueError(f"{name} must be in (0, 1], got {value}")


class RobustTemperature(nn.Module, Temperature):
    """Base: keeps each sample's moving average u of E_j exp(...), and makes the loss of it.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        tau_min: lowest temperature.
        tau_max: highest temperature.
        rho: ρ, penalty on high temperatures.
        gamma: weight of the batch in u, in (0, 1].
        form: "paper" has the positive in the exponents, "code" has not.

    Raises:
        ValueError: an argument is outside its range, or a loss passes no indexes, indexes that are
            too large, or no negatives.
    """

    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True
    average: Tensor

    def __init__(
        self, size: int, tau_min: float, tau_max: float, rho: float, gamma: float, form: str
    ) -> None:
        super().__init__()
        check_finite(rho=rho)
        check_share(gamma=gamma)
        check_range(tau_min, tau_max)
        check_size(size)
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        if (distance := FORMS[form]) / tau_min > LARGEST_EXPONENT:
            raise ValueError(
                f"tau_min must be at least {distance / LARGEST_EXPONENT} with form={form!r}, got "
                f"{tau_min}: exp({distance} / tau) would be too large for 32 bits"
            )
        self.tau_min, self.tau_max, self.rho, self.gamma = tau_min, tau_max, rho, gamma
        self.form = form
        self.register_buffer("average", torch.zeros(size))  # u; 0 means not seen yet

    def taus(self, indexes: Tensor, batch: BatchContext) -> Tensor:
        """Return τ of each anchor, shape (M,), with a gradient to the parameters behind it."""
        raise NotImplementedError

    def learn(self, samples: Samples, gradient: Tensor) -> None:
        """Move temperatures that are no parameters.

        Args:
            samples: the samples of the batch.
            gradient: of the objective with respect to each anchor's τ, shape (M,).
        """

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperatures of the batch's samples."""
        indexes = batch.known_indexes(len(self.average))
        return _AnchorTemperature(self, indexes, self.taus(indexes, batch))

    @torch.no_grad()
    def update(
        self, indexes: Tensor, tau: Tensor, estimate: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update u and τ of the samples of all processes; return u and the gradient of each anchor.

        Args:
            indexes: data set index of each anchor, shape (M,).
            tau: τ of each anchor, shape (M,).
            estimate: g of each anchor, shape (M,).
            slope: ∂ log g / ∂τ of each anchor, shape (M,).
        """
        kind = self.average.dtype
        estimate, slope, tau = estimate.to(kind), slope.to(kind), tau.to(kind)
        old = self.average[indexes]
        average = torch.where(old == 0, estimate, (1 - self.gamma) * old + self.gamma * estimate)
        average = average.clamp_min(torch.finfo(average.dtype).tiny)
        # ∂g/∂τ = g ∂ log g/∂τ
        gradient = average.log() + self.rho + tau * estimate * slope / average
        samples = Samples(indexes)
        self.learn(samples, gradient)
        self.average[samples.indexes] = samples.mean(average)
        return average, gradient

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return (
            f"size={len(self.average)}, tau_min={self.tau_min}, tau_max={self.tau_max}, "
            f"rho={self.rho}, gamma={self.gamma}, form={self.form!r}"
        )


class _AnchorTemperature(Temperature):
    """The temperatures of one batch: one number for each anchor."""

    elementwise = False
    decoupled = True

    def __init__(self, owner: RobustTemperature, indexes: Tensor, tau: Tensor) -> None:
        self.owner, self.indexes, self.attached = owner, indexes, tau
        self.learning = owner.training and torch.is_grad_enabled()
        self.tau = tau.detach().requires_grad_(self.learning)
        self.tau_min, self.tau_max = owner.tau_min, owner.tau_max

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        return self.tau[mask.start : mask.start + len(s), None].to(s.dtype)

    def weigh(self, outcome: Outcome) -> Tensor:
        if not (self.learning and outcome.losses.requires_grad):
            return outcome.losses
        if outcome.negatives < 1:
            raise ValueError("a temperature per sample needs views of at least two images")
        paper = self.owner.form == "paper"
        log_sum = outcome.denominator - outcome.numerator if paper else outcome.denominator
        (slope,) = torch.autograd.grad(log_sum.sum(), self.tau, retain_graph=True)
        estimate = log_sum.detach().exp() / outcome.negatives
        tau = self.tau.detach()
        average, gradient = self.owner.update(self.indexes, tau, estimate, slope)
        pushed = log_sum * (tau * estimate / average)
        losses = pushed if paper else pushed - tau * outcome.numerator
        if self.attached.requires_grad:  # its value is 0, its gradient that of the objective
            losses = losses + (self.attached - tau) * gradient
        return losses
