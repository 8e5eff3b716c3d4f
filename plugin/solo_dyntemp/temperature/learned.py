"""Temperatures that training learns with the network: one number, or the output of a network."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    BatchContext,
    Temperature,
    check_finite,
    check_positive,
    check_start,
)
from solo_dyntemp.temperature.robust import RobustTemperature
from solo_registry.metrics.pair_mask import PairMask


class RGCLTemperature(RobustTemperature):
    r"""RGCL-g: one trained τ for all pairs, with a penalty ρ τ.

    Minimises τ mean_i log E_j exp((s_ij - s_ip) / τ) + ρ τ over the network and τ, where each
    sample's expectation is a moving average u, as in `ISogCLRTemperature`. The gradient by τ is the
    mean of log u_i + ρ + (τ / u_i) ∂g_i/∂τ. Source: FastCLIP (arXiv 2407.01445; ρ = 6 to 8 at
    CLIP's temperatures). The code of LibAUC 2.0 (`global_learnable`) has the mean of u + ρ as the
    gradient instead, which is positive whatever the data; we follow FastCLIP. τ is exp(-t) with a
    parameter t, as in `LearnableTemperature`, and is clamped to its bounds before each batch.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        tau: temperature at the start.
        tau_min: lowest temperature.
        tau_max: highest temperature.
        rho: ρ, penalty on high temperatures.
        gamma: weight of the batch in u, in (0, 1].
        form: "paper", or "code" for exponents without the positive, as iSogCLR's code has them.

    Raises:
        ValueError: an argument is outside its range, or a loss passes no indexes, indexes that are
            too large, or no negatives.

    >>> RGCLTemperature(size=4, tau=0.1).log_scale.exp()
    tensor(10., grad_fn=<ExpBackward0>)
    """

    def __init__(
        self,
        size: int,
        tau: float = 0.1,
        tau_min: float = 0.05,
        tau_max: float = 0.7,
        rho: float = 0.3,
        gamma: float = 0.9,
        form: str = "paper",
    ) -> None:
        check_finite(tau=tau)
        super().__init__(size, tau_min, tau_max, rho, gamma, form)
        check_start(tau, tau_min, tau_max)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(tau)))

    def taus(self, indexes: Tensor, batch: BatchContext) -> Tensor:
        """Clamp t to its bounds, then return τ for each anchor."""
        with torch.no_grad():
            self.log_scale.clamp_(-math.log(self.tau_max), -math.log(self.tau_min))
        return (-self.log_scale).exp().expand(len(indexes))


class TempNetTemperature(RobustTemperature):
    r"""TempNet: a small network reads an anchor's embedding and gives its τ.

    With z the anchor at unit length and without gradient, d = dropout(sigmoid(W z + b)),
    p_m = d · prototype_m at unit length, and τ = τ_min + (τ_max - τ_min) sigmoid(a + Σ_m w_m
    (softmax_m(p / e^c) - 1/M) sigmoid(p_m)). The network minimises the objective of
    `ISogCLRTemperature` in its form "paper". Source: Qiu et al. (arXiv 2404.04575) and their code;
    M = 256, dropout 0.5, c = log 0.01 and w = 1 at the start. Theirs are CLIP's temperatures, 0.005
    to 0.05 with ρ = 6 to 8, and one network for each of two towers. For images we take iSogCLR's
    range and ρ; the run's optimiser trains the network, where they have one of its own.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        dimension: D, the number of outputs of the head.
        tau_min: lowest temperature.
        tau_max: highest temperature.
        rho: ρ, penalty on high temperatures.
        gamma: weight of the batch in u, in (0, 1].
        prototypes: M, positive.
        dropout: share of d that is dropped in training, in [0, 1).
        form: "paper", or "code" for exponents without the positive.

    Raises:
        ValueError: an argument is outside its range, or a loss passes no indexes, indexes that are
            too large, or no negatives.

    >>> temperature = TempNetTemperature(size=4, dimension=8, prototypes=16).eval()
    >>> tau = temperature.network(torch.eye(8)[:2])
    >>> tau.shape, bool(((tau > 0.05) & (tau < 0.7)).all())
    (torch.Size([2]), True)
    """

    reads_anchors: ClassVar[bool] = True

    def __init__(
        self,
        size: int,
        dimension: int,
        tau_min: float = 0.05,
        tau_max: float = 0.7,
        rho: float = 0.3,
        gamma: float = 0.9,
        prototypes: int = 256,
        dropout: float = 0.5,
        form: str = "paper",
    ) -> None:
        super().__init__(size, tau_min, tau_max, rho, gamma, form)
        for name, value in (("dimension", dimension), ("prototypes", prototypes)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, got {value!r}")
        check_finite(dropout=dropout)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.project = nn.Linear(dimension, dimension)
        self.prototypes = nn.Parameter(torch.randn(prototypes, dimension))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(0.01)))
        self.weigh_prototypes = nn.Linear(prototypes, 1)
        nn.init.ones_(self.weigh_prototypes.weight)
        nn.init.zeros_(self.weigh_prototypes.bias)
        self.dropout = nn.Dropout(dropout)

    def network(self, z: Tensor) -> Tensor:
        """Return τ, (M,), of embeddings at unit length, (M, D)."""
        d = self.dropout(self.project(z.to(self.prototypes.dtype)).sigmoid())
        p = d @ F.normalize(self.prototypes).T
        share = (p / self.log_sharpness.exp()).softmax(1) - 1 / len(self.prototypes)
        score = self.weigh_prototypes(share * p.sigmoid()).squeeze(1)
        tau: Tensor = self.tau_min + (self.tau_max - self.tau_min) * score.sigmoid()
        return tau

    def taus(self, indexes: Tensor, batch: BatchContext) -> Tensor:
        """Return the network's τ of each anchor."""
        if batch.anchors is None:
            raise ValueError(f"{type(self).__name__} needs the embeddings of the anchors")
        return self.network(batch.anchors.detach())


class UncertaintyTemperature(Temperature):
    r"""TaU: τ_i = τ / sigmoid(t_i), where t_i is an output of the head beside the embedding.

    So each anchor's logits are s_ij sigmoid(t_i) / τ; a low sigmoid(t_i) marks an image as
    uncertain. Source: Zhang et al., "Temperature as uncertainty in contrastive learning" (arXiv
    2110.04403) and their code, τ = 0.07 (0.1 in its configuration), where the positive is not in
    the denominator: `positive_in_denominator=True` is NT-Xent's form. The gradient always reaches
    t_i. The loss takes embeddings with one column more than their dimension.

    Args:
        tau: τ, the lowest temperature, positive.
        positive_in_denominator: whether the denominators hold the positives.

    Raises:
        ValueError: tau is not positive and finite.

    >>> from solo_dyntemp.losses import dyntemp_ntxent
    >>> z = torch.eye(2, 3)  # embeddings in two columns, t_i = 0 in the third
    >>> dyntemp_ntxent(z, z, temperature=UncertaintyTemperature(0.1, positive_in_denominator=True))
    tensor(0.0134)
    """

    elementwise: ClassVar[bool] = False
    outputs: ClassVar[int] = 1
    tau_max: float = math.inf

    def __init__(self, tau: float = 0.07, positive_in_denominator: bool = False) -> None:
        check_positive(tau=tau)
        self.tau_min = tau
        self.decoupled = not positive_in_denominator  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(tau={self.tau_min})"

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperatures of the batch's anchors."""
        if batch.extra is None:
            raise ValueError(f"{self} needs an output of the head beside the embedding")
        tau = self.tau_min / batch.extra.squeeze(1).sigmoid()
        return AnchorTemperature(tau, self.tau_min, self.tau_max, decoupled=self.decoupled)


class AnchorTemperature(Temperature):
    """One temperature for each anchor of a batch.

    Args:
        tau: the temperatures, shape (M,); a gradient reaches them.
        tau_min: lower bound of `tau`.
        tau_max: upper bound of `tau`.
        decoupled: whether the denominators leave out the positives.
    """

    elementwise: ClassVar[bool] = False

    def __init__(
        self, tau: Tensor, tau_min: float, tau_max: float, *, decoupled: bool = False
    ) -> None:
        self.tau, self.tau_min, self.tau_max = tau, tau_min, tau_max
        self.decoupled = decoupled  # type: ignore[misc]

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        """Return τ of the block's anchors, (A, 1)."""
        return self.tau[mask.start : mask.start + len(s), None].to(s.dtype)
