"""One temperature for each sample of the data set (iSogCLR)."""

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
    check_positive,
    check_range,
)
from solo_pairs import PairMask

FORMS = {"code": 1, "paper": 2}  # the largest numerator of an exponent: s, or a difference of s
LARGEST_EXPONENT = 80  # exp(88.7) is the largest 32-bit number


class ISogCLRTemperature(nn.Module, Temperature):
    r"""Each sample k has its own temperature τ_k, which training updates by its gradient.

    Minimises Σ_k τ_k log E_j exp((s_kj - s_kp) / τ_k) + ρ τ_k over the network and τ. Source: Qiu
    et al. (arXiv 2305.11965), algorithm 1, in the form of the authors' code
    (zhqiu/contrastive-learning-iSogCLR, LibAUC). The defaults are for this form:

    - g_i, the batch's estimate at anchor i (a view of sample k), is the mean over its negatives j
      of exp(s_ij / τ_k). The positive is not in it; it adds -s_ip to the loss.
    - u_i = (1 - γ) u_k + γ g_i, and the loss of anchor i has the gradient τ_k ∇g_i / u_i - ∇s_ip.
      A sample that is seen for the first time has u_i = g_i.
    - v_i = log u_i + ρ + (τ_k / u_i) ∂g_i/∂τ_k. Both u and v are averaged over the anchors of a
      sample, over all views and processes: u_k <- mean u_i,
      m_k <- (1 - β) m_k + β clip(mean v_i), τ_k <- clip(τ_k - η m_k, τ_min, τ_max).

    `form="paper"` puts the positive into the estimate, as the paper writes it: g_i is the mean of
    exp((s_ij - s_ip) / τ_k), and the gradient of the loss τ_k ∇g_i / u_i.

    The state is in the state dict and equal on all processes. The loss is a surrogate: its value
    cannot be compared with that of other losses. It is a mean over anchors; the authors' value is
    twice as large, because they add an image's two anchors. The temperatures need indexes into the
    data set. Every call of the loss in training mode with gradients updates them. A method that
    calls the loss once for each direction updates them twice a step.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        tau: temperature at the start.
        tau_min: lowest temperature.
        tau_max: highest temperature.
        rho: ρ, penalty on high temperatures.
        gamma: weight of the batch in u, in (0, 1].
        eta: η, learning rate of the temperatures, positive.
        beta: weight of the batch in m, in (0, 1].
        clip: largest size of a sample's mean v, positive. LibAUC does not clip: `float("inf")`.
        form: "code" or "paper".

    Raises:
        ValueError: an argument is outside its range, or a loss passes no indexes, indexes that are
            too large, or no negatives.

    >>> temperature = ISogCLRTemperature(size=4, tau=0.1)
    >>> temperature.tau
    tensor([0.1000, 0.1000, 0.1000, 0.1000])
    """

    elementwise: ClassVar[bool] = False
    decoupled: ClassVar[bool] = True
    tau: Tensor
    average: Tensor
    momentum: Tensor

    def __init__(
        self,
        size: int,
        tau: float = 0.1,
        tau_min: float = 0.05,
        tau_max: float = 0.7,
        rho: float = 0.3,
        gamma: float = 0.9,
        eta: float = 0.01,
        beta: float = 0.9,
        clip: float = 3.0,
        form: str = "code",
    ) -> None:
        super().__init__()
        check_finite(tau=tau, rho=rho, gamma=gamma, beta=beta)
        check_positive(eta=eta)
        check_range(tau_min, tau_max)
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"size must be a positive integer, got {size!r}")
        if not tau_min <= tau <= tau_max:
            raise ValueError(f"tau must be in [{tau_min}, {tau_max}], got {tau}")
        for name, value in (("gamma", gamma), ("beta", beta)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        if (distance := FORMS[form]) / tau_min > LARGEST_EXPONENT:
            raise ValueError(
                f"tau_min must be at least {distance / LARGEST_EXPONENT} with form={form!r}, got "
                f"{tau_min}: exp({distance} / tau) would be too large for 32 bits"
            )
        self.tau_min, self.tau_max = tau_min, tau_max
        self.rho, self.gamma, self.eta, self.beta = rho, gamma, eta, beta
        self.clip, self.form = clip, form
        self.register_buffer("tau", torch.full((size,), float(tau)))
        self.register_buffer("average", torch.zeros(size))  # u; 0 means not seen yet
        self.register_buffer("momentum", torch.zeros(size))

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperatures of the batch's samples."""
        if batch.indexes is None:
            raise ValueError("a temperature per sample needs the data set indexes of the anchors")
        largest = int(batch.indexes.max())
        if largest >= len(self.tau) or int(batch.indexes.min()) < 0:
            raise ValueError(
                f"data set indexes must be in [0, {len(self.tau)}), got up to {largest}; "
                f"is `size` the size of the data set?"
            )
        return _SampleTemperature(self, batch.indexes)

    @torch.no_grad()
    def update(self, indexes: Tensor, estimate: Tensor, slope: Tensor) -> Tensor:
        """Update u and τ of the samples of all processes; return u of each anchor.

        Args:
            indexes: data set index of each anchor, shape (M,).
            estimate: g of each anchor, shape (M,).
            slope: ∂ log g / ∂τ of each anchor, shape (M,).
        """
        estimate, slope = estimate.to(self.tau.dtype), slope.to(self.tau.dtype)
        old, tau = self.average[indexes], self.tau[indexes]
        average = torch.where(old == 0, estimate, (1 - self.gamma) * old + self.gamma * estimate)
        average = average.clamp_min(torch.finfo(average.dtype).tiny)
        # ∂g/∂τ = g ∂ log g/∂τ
        gradient = average.log() + self.rho + tau * estimate * slope / average

        samples, place, counts = torch.unique(
            all_gather(indexes), return_inverse=True, return_counts=True
        )

        def mean(values: Tensor) -> Tensor:
            sums = values.new_zeros(len(samples)).index_add(0, place, all_gather(values))
            return torch.div(sums, counts)

        step = mean(gradient).clamp(-self.clip, self.clip)
        momentum = (1 - self.beta) * self.momentum[samples] + self.beta * step
        moved = self.tau[samples] - self.eta * momentum
        self.average[samples] = mean(average)
        self.momentum[samples] = momentum
        self.tau[samples] = moved.clamp(self.tau_min, self.tau_max)
        return average

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return (
            f"size={len(self.tau)}, tau_min={self.tau_min}, tau_max={self.tau_max}, "
            f"rho={self.rho}, gamma={self.gamma}, eta={self.eta}, beta={self.beta}, "
            f"clip={self.clip}, form={self.form!r}"
        )


class _SampleTemperature(Temperature):
    """The temperatures of one batch: one number for each anchor."""

    elementwise = False
    decoupled = True

    def __init__(self, owner: ISogCLRTemperature, indexes: Tensor) -> None:
        self.owner, self.indexes = owner, indexes
        self.learning = owner.training and torch.is_grad_enabled()
        self.tau = owner.tau[indexes].requires_grad_(self.learning)
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
        average = self.owner.update(self.indexes, estimate, slope)
        tau = self.tau.detach()
        pushed = log_sum * (tau * estimate / average)
        return pushed if paper else pushed - tau * outcome.numerator
