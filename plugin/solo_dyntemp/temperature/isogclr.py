"""One temperature for each sample of the data set (iSogCLR)."""

from __future__ import annotations

import torch
from torch import Tensor

from solo_dyntemp.temperature.base import BatchContext, check_finite, check_positive, check_start
from solo_dyntemp.temperature.robust import RobustTemperature, Samples, check_share


class ISogCLRTemperature(RobustTemperature):
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

    tau: Tensor
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
        check_finite(tau=tau)
        check_positive(eta=eta)
        check_share(gamma=gamma, beta=beta)
        super().__init__(size, tau_min, tau_max, rho, gamma, form)
        check_start(tau, tau_min, tau_max)
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        self.eta, self.beta, self.clip = eta, beta, clip
        self.register_buffer("tau", torch.full((size,), float(tau)))
        self.register_buffer("momentum", torch.zeros(size))

    def taus(self, indexes: Tensor, batch: BatchContext) -> Tensor:
        """Return τ of each anchor's sample."""
        return self.tau[indexes]

    def learn(self, samples: Samples, gradient: Tensor) -> None:
        """Move the temperatures of the batch's samples."""
        step = samples.mean(gradient).clamp(-self.clip, self.clip)
        momentum = (1 - self.beta) * self.momentum[samples.indexes] + self.beta * step
        moved = self.tau[samples.indexes] - self.eta * momentum
        self.momentum[samples.indexes] = momentum
        self.tau[samples.indexes] = moved.clamp(self.tau_min, self.tau_max)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"{super().extra_repr()}, eta={self.eta}, beta={self.beta}, clip={self.clip}"
