"""One temperature for all pairs, and factors of the negatives in the denominators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    BatchContext,
    Temperature,
    TermsAt,
    check_finite,
    check_positive,
)
from solo_dyntemp.temperature.oracles import Labels, SameClass
from solo_dyntemp.temperature.pairwise import ConstantTemperature
from solo_dyntemp.temperature.robust import Samples, check_size
from solo_registry.metrics.pair_mask import PairMask


@dataclass(frozen=True)
class ADNCETemperature(ConstantTemperature):
    r"""ADNCE: each negative counts by a Gaussian of its similarity.

    A negative's factor is N(s; μ, σ) divided by the mean of N over the anchor's negatives, without
    gradient: negatives near μ count most, neither the easy ones nor the hardest, which may be false
    negatives. Source: Wu et al., "Understanding contrastive learning via distributionally robust
    optimization" (arXiv 2310.11048) and their code. τ | μ | σ: 0.4 | 0.7 | 0.5 (CIFAR-10),
    0.3 | 0.5 | 1 (CIFAR-100), 0.2 | 0.8 | 1 (STL-10).

    Args:
        tau: the temperature, positive.
        mu: μ, the similarity that counts most.
        sigma: σ, positive.

    Raises:
        ValueError: a value is not finite, or tau or sigma is not positive.

    >>> mask = PairMask(torch.tensor([[True, False, False]]))
    >>> weights = ADNCETemperature().log_weights(torch.tensor([[0.9, 0.7, 0.0]]), mask)
    >>> weights.exp()
    tensor([[1.0000, 1.4542, 0.5458]])
    """

    elementwise: ClassVar[bool] = False
    tau: float = 0.4
    mu: float = 0.7
    sigma: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(mu=self.mu)
        check_positive(sigma=self.sigma)

    def log_weights(self, s: Tensor, mask: PairMask) -> Tensor | None:
        """Return the logarithms of the factors, 0 for pairs that are no negatives."""
        negative = mask.negative
        density = ((s - self.mu) / self.sigma).square() / -2  # up to a constant, which cancels
        total = density.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
        mean = total - negative.sum(1, keepdim=True).clamp_min(1).to(s.dtype).log()
        return torch.where(negative, density - mean, 0)


FORMS = ("learned", "oracle")


class GloFNDTemperature(nn.Module, Temperature):
    r"""GloFND: negatives more similar than an image's own threshold λ_k are dropped.

    λ_k follows the (1 - α) quantile of the similarities of image k's negatives. For every batch
    with image k, h = α - (share of its anchors' negatives with s > λ_k), and λ_k moves against h:
    by Adam (β = 0.9 and 0.98, a count of steps for each image), or by plain steps. Then the
    negatives with s > λ_k leave the denominator, and the others' sum is divided by their share. So
    the expected sum stays that of all negatives. Source: Balmaseda et al. (arXiv 2502.20612) and
    their code, which has α = 0.01 and a rate of 0.05, and begins after 70 of 200 epochs. Its
    correction of Adam counts epochs instead of steps: the same where `start` is 0. An anchor
    whose negatives would all be dropped keeps them.

    `form="oracle"` drops exactly the negatives of the anchor's class: it reads the labels, to
    measure what is possible.

    Args:
        size: number of samples in the data set; indexes are in [0, size).
        tau: the temperature, positive.
        alpha: α, share of negatives to drop, in (0, 1).
        eta: learning rate of the thresholds, positive.
        start: fraction of the training before which nothing is learned or dropped, in [0, 1].
        adam: whether Adam moves the thresholds, or plain steps.
        form: "learned" or "oracle".

    Raises:
        ValueError: an argument is outside its range, or a loss passes no indexes or indexes that
            are too large.

    >>> GloFNDTemperature(size=4).threshold
    tensor([1., 1., 1., 1.])
    """

    elementwise: ClassVar[bool] = False
    threshold: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(
        self,
        size: int,
        tau: float = 0.1,
        alpha: float = 0.01,
        eta: float = 0.05,
        start: float = 0.35,
        adam: bool = True,
        form: str = "learned",
    ) -> None:
        super().__init__()
        check_positive(tau=tau, eta=eta)
        check_finite(alpha=alpha, start=start)
        check_size(size)
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be in (0, 1), got {alpha}")
        if not 0 <= start <= 1:
            raise ValueError(f"start must be in [0, 1], got {start}")
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        self.tau_min = self.tau_max = tau
        self.alpha, self.eta, self.start, self.adam, self.form = alpha, eta, start, adam, form
        self.progress = 0.0
        self.classes = Labels(size) if form == "oracle" else None
        self.oracle = self.compares_labels = form == "oracle"  # type: ignore[misc]
        self.register_buffer("threshold", torch.ones(size))
        for name in ("mean", "square", "steps"):
            self.register_buffer(name, torch.zeros(size))

    def set_progress(self, progress: float) -> None:
        """Receive the fraction of the training that is done."""
        self.progress = progress

    def use_labels(self, labels: Tensor) -> None:
        """Receive the class of each image of the data set."""
        if self.classes is not None:
            self.classes.fill(labels)

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperature of the batch, which drops nothing before `start`."""
        indexes = batch.known_indexes(len(self.threshold))
        if self.progress < self.start:
            return ConstantTemperature(self.tau_min)
        if self.classes is not None:
            return _Dropping(self.tau_min, same=self.classes.same_class(batch))
        return _Surveying(self, indexes)

    @torch.no_grad()
    def update(self, indexes: Tensor, share: Tensor) -> None:
        """Move the thresholds of the samples of all processes.

        Args:
            indexes: data set index of each anchor, shape (M,).
            share: share of each anchor's negatives above its threshold, shape (M,).
        """
        samples = Samples(indexes)
        chosen = samples.indexes
        step = self.alpha - samples.mean(share.to(self.threshold.dtype))
        if self.adam:
            self.steps[chosen] += 1
            self.mean[chosen] = 0.9 * self.mean[chosen] + 0.1 * step
            self.square[chosen] = 0.98 * self.square[chosen] + 0.02 * step.square()
            mean = self.mean[chosen] / (1 - 0.9 ** self.steps[chosen])
            square = self.square[chosen] / (1 - 0.98 ** self.steps[chosen])
            step = mean / (square.sqrt() + 1e-8)
        self.threshold[chosen] = (self.threshold[chosen] - self.eta * step).clamp(-1, 1)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return (
            f"size={len(self.threshold)}, tau={self.tau_min}, alpha={self.alpha}, eta={self.eta}, "
            f"start={self.start}, adam={self.adam}, form={self.form!r}"
        )


class _Surveying(Temperature):
    """Looks at all pairs of a batch, moves the thresholds, and becomes a `_Dropping`."""

    elementwise = False

    def __init__(self, owner: GloFNDTemperature, indexes: Tensor) -> None:
        self.owner, self.indexes = owner, indexes
        self.tau_min = self.tau_max = owner.tau_min
        self.share = owner.threshold.new_zeros(len(indexes))

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        place = slice(mask.start, mask.start + len(s))
        limit = self.owner.threshold[self.indexes[place]]
        above = ((s > limit[:, None]) & mask.negative).sum(1)
        self.share[place] = above.to(self.share) / mask.negative.sum(1).clamp_min(1)
        return s.new_full((len(s), 1), self.tau_min)

    def survey(self, terms: TermsAt) -> Temperature:
        owner = self.owner
        if owner.training and torch.is_grad_enabled():
            with torch.no_grad():
                terms(self)
            owner.update(self.indexes, self.share)
        return _Dropping(owner.tau_min, limits=owner.threshold[self.indexes])


class _Dropping(Temperature):
    """Drops the negatives above a limit of each anchor, or those of its class."""

    elementwise = False

    def __init__(
        self, tau: float, *, limits: Tensor | None = None, same: SameClass | None = None
    ) -> None:
        self.tau_min = self.tau_max = tau
        self.limits, self.same = limits, same

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        return s.new_full((len(s), 1), self.tau_min)

    def log_weights(self, s: Tensor, mask: PairMask) -> Tensor:
        negative = mask.negative
        if self.same is not None:
            dropped = self.same.negatives(mask)
        else:
            assert self.limits is not None
            dropped = (s > self.limits[mask.start : mask.start + len(s), None]) & negative
        everything = negative.sum(1, keepdim=True)
        kept = everything - dropped.sum(1, keepdim=True)
        dropped = dropped & (kept > 0)
        share = torch.where(kept > 0, kept, everything).to(s.dtype) / everything.clamp_min(1)
        return torch.where(negative, -share.log(), 0).masked_fill(dropped, -torch.inf)
