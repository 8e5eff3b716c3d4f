"""A temperature of its own for every sample of the data set (iSogCLR)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from solo_dyntemp.gather import all_gather
from solo_dyntemp.temperature.base import (
    Batch,
    Block,
    Outcome,
    Temperature,
    check_finite,
    check_range,
)


class ISogCLRTemperature(nn.Module, Temperature):
    r"""Every sample k has its temperature τ_k, moved by its own gradient while training.

    Minimises Σ_k τ_k log E_j exp((s_kj - s_kp) / τ_k) + ρ τ_k over the network and τ. With g the
    batch's estimate of the mean over negatives, u_k is its moving average and the loss of an
    anchor has the gradient τ_k ∇g / u_k. Then v = log u_k + ρ + (τ_k / u_k) ∂g/∂τ_k and
    τ_k <- clip(τ_k - η m_k), m_k the moving average of v. Several anchors of a sample are
    averaged. Source: Qiu et al. (arXiv 2305.11965), algorithm 1. The state is in the state dict
    and equal on all processes. The value of the loss is that of a surrogate: do not compare it.
    It needs indexes into the data set, and changes only in training mode with gradients.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        tau: temperature at the start.
        tau_min: lowest temperature.
        tau_max: highest temperature.
        rho: ρ, what a high temperature costs.
        gamma: weight of the batch in u, in (0, 1].
        eta: η, step of the temperatures, positive.
        beta: weight of the batch in m, in (0, 1].

    Raises:
        ValueError: an argument is outside its range, or a loss brings no or too large indexes.

    >>> temperature = ISogCLRTemperature(size=4, tau=0.1)
    >>> temperature.tau
    tensor([0.1000, 0.1000, 0.1000, 0.1000])
    """

    elementwise: ClassVar[bool] = False
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
    ) -> None:
        super().__init__()
        check_finite(tau=tau, rho=rho, gamma=gamma, eta=eta, beta=beta)
        check_range(tau_min, tau_max)
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"size must be a positive integer, got {size!r}")
        if not tau_min <= tau <= tau_max:
            raise ValueError(f"tau must be in [{tau_min}, {tau_max}], got {tau}")
        for name, value in (("gamma", gamma), ("beta", beta)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")
        if eta <= 0:
            raise ValueError(f"eta must be positive, got {eta}")
        self.tau_min, self.tau_max = tau_min, tau_max
        self.rho, self.gamma, self.eta, self.beta = rho, gamma, eta, beta
        self.register_buffer("tau", torch.full((size,), float(tau)))
        self.register_buffer("average", torch.zeros(size))  # u, 0: not seen yet
        self.register_buffer("momentum", torch.zeros(size))

    def for_batch(self, batch: Batch) -> Temperature:
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
        """Move u and τ of the samples of all processes' anchors; return u of each anchor.

        Args:
            indexes: data set index of each anchor, shape (M,).
            estimate: g of each anchor, shape (M,).
            slope: ∂ log g / ∂τ of each anchor, shape (M,).
        """
        everywhere = all_gather(indexes)
        samples, place, counts = torch.unique(everywhere, return_inverse=True, return_counts=True)

        def mean(values: Tensor) -> Tensor:
            values = all_gather(values.to(self.tau.dtype))
            sums = self.tau.new_zeros(len(samples)).index_add(0, place, values)
            return torch.div(sums, counts)

        g, growth = mean(estimate), mean(estimate * slope)  # ∂g/∂τ = g ∂ log g/∂τ
        old, tau = self.average[samples], self.tau[samples]
        average = torch.where(old == 0, g, (1 - self.gamma) * old + self.gamma * g)
        average = average.clamp_min(torch.finfo(average.dtype).tiny)
        gradient = average.log() + self.rho + tau * growth / average
        momentum = (1 - self.beta) * self.momentum[samples] + self.beta * gradient
        self.average[samples] = average
        self.momentum[samples] = momentum
        self.tau[samples] = (tau - self.eta * momentum).clamp(self.tau_min, self.tau_max)
        own: Tensor = self.average[indexes]
        return own

    def extra_repr(self) -> str:
        """Say how the temperatures are set."""
        return (
            f"size={len(self.tau)}, tau_min={self.tau_min}, tau_max={self.tau_max}, "
            f"rho={self.rho}, gamma={self.gamma}, eta={self.eta}, beta={self.beta}"
        )


class _SampleTemperature(Temperature):
    """The temperatures of one batch: one number for each anchor."""

    elementwise = False

    def __init__(self, owner: ISogCLRTemperature, indexes: Tensor) -> None:
        self.owner, self.indexes = owner, indexes
        self.learning = owner.training and torch.is_grad_enabled()
        self.tau = owner.tau[indexes].requires_grad_(self.learning)
        self.tau_min, self.tau_max = owner.tau_min, owner.tau_max

    def pairs(self, s: Tensor, block: Block) -> Tensor:
        return self.tau[block.start : block.start + len(s), None].to(s.dtype)

    def weigh(self, outcome: Outcome) -> Tensor:
        if not (self.learning and outcome.losses.requires_grad):
            return outcome.losses
        log_odds = outcome.log_odds()
        (slope,) = torch.autograd.grad(log_odds.sum(), self.tau, retain_graph=True)
        estimate = log_odds.detach().exp() / outcome.negatives
        average = self.owner.update(self.indexes, estimate, slope)
        return log_odds * (self.tau.detach() * estimate / average)
