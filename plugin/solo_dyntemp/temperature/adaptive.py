"""Temperatures of one number for all pairs, computed from the batch or trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    BatchContext,
    Outcome,
    Temperature,
    check_finite,
    check_positive,
    check_range,
    check_start,
)
from solo_dyntemp.temperature.pairwise import ConstantTemperature


class ScalarTemperature(Temperature):
    """One temperature for all pairs, a scalar tensor, so that nothing waits for the GPU.

    Args:
        tau: the temperature. If it needs a gradient, the loss uses the dense kernel.
        tau_min: lower bound of `tau`.
        tau_max: upper bound of `tau`.
    """

    def __init__(self, tau: Tensor, tau_min: float, tau_max: float) -> None:
        self.tau, self.tau_min, self.tau_max = tau, tau_min, tau_max
        self.elementwise = not tau.requires_grad  # type: ignore[misc]

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ for every element of `s`."""
        tau = self.tau.to(s.dtype).expand_as(s)
        return tau if out is None else out.copy_(tau)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(s) if out is None else out.zero_()


@dataclass(frozen=True)
class MACLTemperature(Temperature):
    r"""Model-aware: τ = τ_0 (1 + α (A - A_0)), A the batch's mean similarity of positives.

    Multiplies every anchor's loss by 1 / (1 - P), P its probability of the positive. Source: MACL
    (arXiv 2207.07874), τ_0 | α | A_0 = 0.1 | 0.5 | 0 for images, 0.05 | 2 | 0.8 for sentences. A is
    the mean over all processes. Neither A nor the weight has a gradient.

    Args:
        tau: τ_0, positive.
        alpha: α, how strongly A acts.
        a0: A_0, the similarity at which the temperature is τ_0.
        tau_min: lowest temperature.

    Raises:
        ValueError: a value is not finite, or tau or tau_min is not positive.

    >>> batch = BatchContext(positive_similarity=lambda: torch.tensor(0.5))
    >>> MACLTemperature(0.1, alpha=0.5).for_batch(batch)(torch.zeros(1))
    tensor([0.1250])
    """

    tau: float = 0.1
    alpha: float = 0.5
    a0: float = 0.0
    tau_min: float = 0.01

    def __post_init__(self) -> None:
        check_positive(tau=self.tau)
        check_finite(alpha=self.alpha, a0=self.a0)
        check_range(self.tau_min, self.tau_max)

    @property
    def tau_max(self) -> float:  # type: ignore[override]
        """Highest temperature of any batch."""
        reach = max(self.alpha * (1 - self.a0), self.alpha * (-1 - self.a0))
        return max(self.tau_min, self.tau * (1 + reach))

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the batch's temperature."""
        similarity = batch.positive_similarity()
        tau = self.tau * (1 + self.alpha * (similarity - self.a0))
        return _MACLBatch(tau.clamp(self.tau_min, self.tau_max), self.tau_min, self.tau_max)


class _MACLBatch(ScalarTemperature):
    def weigh(self, outcome: Outcome) -> Tensor:
        miss = outcome.log_odds().detach().sigmoid()
        return outcome.losses / miss.clamp_min(1e-6)  # P = 1 would make it infinite


@dataclass(frozen=True)
class DualTemperature(ConstantTemperature):
    r"""Multiplies every anchor's loss by (1 - P at m τ) / (1 - P at τ), without gradient.

    P is the anchor's probability of its positives; the loss is computed a second time at m τ.
    Source: Zhang et al., "Dual temperature helps contrastive learning without many negative
    samples" (arXiv 2203.17248), τ = 0.1, m = 10.

    Args:
        tau: the temperature of the gradient, positive.
        ratio: m, positive.

    Raises:
        ValueError: a value is not positive and finite.

    >>> DualTemperature(0.1, ratio=10)
    DualTemperature(tau=0.1, ratio=10)
    """

    tau: float = 0.1
    ratio: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(ratio=self.ratio)

    def weigh(self, outcome: Outcome) -> Tensor:
        """Return the weighed losses."""
        with torch.no_grad():
            outer = outcome.log_odds(ConstantTemperature(self.ratio * self.tau)).sigmoid()
            inner = outcome.log_odds().sigmoid()
        return outcome.losses * (outer / inner.clamp_min(1e-6))  # P = 1 would make it infinite


class LearnableTemperature(nn.Module, Temperature):
    r"""One trained temperature: τ = exp(-t), t a parameter.

    Source: CLIP (arXiv 2103.00020), τ = 0.07 at the start, t kept in [0, ln 100]. The gradient
    always reaches t, whatever `detach_temperature` says. Give the parameter to the optimiser,
    without weight decay. Training it needs the dense kernel.

    Args:
        tau: temperature at the start.
        tau_min: lowest temperature; t is clamped to the bounds before each batch.
        tau_max: highest temperature.

    Raises:
        ValueError: not 0 < tau_min <= tau <= tau_max, or not finite.

    >>> temperature = LearnableTemperature(0.07)
    >>> [name for name, _ in temperature.named_parameters()]
    ['log_scale']
    >>> temperature(torch.zeros(1))
    tensor([0.0700], grad_fn=<ExpandBackward0>)
    """

    def __init__(self, tau: float = 0.07, tau_min: float = 0.01, tau_max: float = 1.0) -> None:
        super().__init__()
        check_finite(tau=tau)
        check_range(tau_min, tau_max)
        check_start(tau, tau_min, tau_max)
        self.tau_min, self.tau_max = tau_min, tau_max
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def for_batch(self, batch: BatchContext) -> ScalarTemperature:
        """Clamp t to its bounds, then return the temperature."""
        with torch.no_grad():
            self.log_scale.clamp_(-math.log(self.tau_max), -math.log(self.tau_min))
        return ScalarTemperature((-self.log_scale).exp(), self.tau_min, self.tau_max)

    def forward(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ for every element of `s`."""
        return ScalarTemperature((-self.log_scale).exp(), self.tau_min, self.tau_max)(s, out)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return zeros."""
        return torch.zeros_like(s) if out is None else out.zero_()

    def extra_repr(self) -> str:
        """Return the bounds for `repr`."""
        return f"tau_min={self.tau_min}, tau_max={self.tau_max}"
