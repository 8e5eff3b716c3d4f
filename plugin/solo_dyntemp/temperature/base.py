"""The base class of temperatures: τ(s) of the cosine similarity s, and hooks that losses call."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from solo_registry.metrics.pair_mask import PairMask

TermsAt: TypeAlias = "Callable[[Temperature], tuple[Tensor, Tensor]]"
GRID = 2_001  # points on [-1, 1] for the numerical bounds; odd, so that s = 0 is among them


@dataclass(frozen=True)
class BatchContext:
    """What a loss passes to `Temperature.for_batch`.

    Attributes:
        positive_similarity: returns the mean cosine of the positive pairs over all processes, a
            scalar without gradient; computed only when called.
        indexes: data set index of every anchor, shape (M,), or None if the loss has none.
        candidates: returns the data set index of every candidate, shape (B,), or None if the loss
            does not know them, as those of a queue; computed only when called.
        anchors: embeddings of the anchors at unit length, shape (M, D), with gradient.
        extra: further outputs of the anchors' head, shape (M, `Temperature.outputs`).
    """

    positive_similarity: Callable[[], Tensor]
    indexes: Tensor | None = None
    candidates: Callable[[], Tensor | None] = lambda: None
    anchors: Tensor | None = None
    extra: Tensor | None = None

    def known_indexes(self, size: int) -> Tensor:
        """Return `indexes` for a temperature that holds a value for each of `size` images.

        Raises:
            ValueError: the loss passes no indexes, or one that is outside [0, size).
        """
        if self.indexes is None:
            raise ValueError("a temperature per sample needs the data set indexes of the anchors")
        largest = int(self.indexes.max())
        if largest >= size or int(self.indexes.min()) < 0:
            raise ValueError(
                f"data set indexes must be in [0, {size}), got up to {largest}; "
                f"is `size` the size of the data set?"
            )
        return self.indexes


@dataclass(frozen=True)
class Outcome:
    """What a loss passes to `Temperature.weigh`, before it averages over the anchors.

    Attributes:
        losses: loss of each anchor, shape (M,), with gradient.
        terms: computes the anchors' numerators and denominators at another temperature.
        numerator: logarithm of the positives' sum of each anchor, shape (M,), with gradient.
        denominator: logarithm of the denominator of each anchor, shape (M,), with gradient.
        decoupled: the positives are not in the denominator.
        negatives: number of negatives of an anchor.
        positive_weight: factor of each numerator in `losses`, shape (M,); None for ones.
    """

    losses: Tensor
    terms: TermsAt
    numerator: Tensor
    denominator: Tensor
    decoupled: bool
    negatives: float
    positive_weight: Tensor | None = None

    def losses_at(self, other: Temperature) -> Tensor:
        """Return the loss of each anchor at another temperature, shape (M,), with gradient."""
        numerator, denominator = self.terms(other)
        if self.positive_weight is not None:
            numerator = self.positive_weight * numerator
        return denominator - numerator

    def log_odds(self, other: Temperature | None = None) -> Tensor:
        """Return log((1 - P) / P), P an anchor's probability of its positives, shape (M,).

        Args:
            other: a temperature to use in place of the batch's.
        """
        top, bottom = (self.numerator, self.denominator) if other is None else self.terms(other)
        if self.decoupled:
            return bottom - top
        surprise = (bottom - top).clamp_min(torch.finfo(top.dtype).tiny)  # -log P
        return surprise + (-torch.expm1(-surprise)).log()


@dataclass(frozen=True)
class TauRange:
    """What `Temperature.range` finds out.

    Attributes:
        tau_min: lowest temperature there.
        tau_max: highest temperature there.
        monotone: whether a more similar pair always gets a larger logit there; None if τ depends on
            more than the pair's similarity.
    """

    tau_min: float
    tau_max: float
    monotone: bool | None


class Temperature:
    r"""Base class: τ(s), positive on [-1, 1], and hooks that do nothing unless overridden.

    A subclass gives the elementwise formula (`__call__`, `derivative`) and bounds
    `tau_min <= τ(s) <= tau_max`. A loss calls, in this order: `for_batch` once, `survey` once,
    `pairs` and `log_weights` on each block of similarities, `weigh` once. A training loop calls
    `use_labels` before the first step and `set_progress` before each one.

    Attributes:
        elementwise: τ depends on the pair's own similarity alone, so the tiled kernels may be used.
        rational: exp(s/τ(s)) is a fraction, and `odds` and `odds_slope` give it and its derivative
            without exp and log. Then τ is not `detachable`, and no logit is above 40.
        decoupled: the denominators must leave out the positives; not for elementwise temperatures.
        detachable: a loss may stop the gradient through τ. False where the source defines the logit
            and not τ; then the gradient always passes.
        oracle: it reads the labels, so it measures what is possible and is no method to compare.
        compares_labels: it reads the labels of candidates, not of anchors alone.
        outputs: how many outputs of the head, after those of the embedding, it reads.
        reads_anchors: τ depends on the embeddings of the anchors.
        tau_min: lower bound of τ on [-1, 1].
        tau_max: upper bound of τ on [-1, 1].
    """

    elementwise: ClassVar[bool] = True
    rational: ClassVar[bool] = False
    decoupled: ClassVar[bool] = False
    detachable: ClassVar[bool] = True
    oracle: ClassVar[bool] = False
    compares_labels: ClassVar[bool] = False
    outputs: ClassVar[int] = 0
    reads_anchors: ClassVar[bool] = False
    tau_min: float
    tau_max: float

    def __repr__(self) -> str:
        return type(self).__name__

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s), in the shape of `s`; `out` is a buffer for the result."""
        raise NotImplementedError(f"{type(self).__name__} is defined only for a batch")

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds, in the shape of `s`; `out` is a buffer for the result."""
        raise NotImplementedError(f"{type(self).__name__} is defined only for a batch")

    def odds(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return exp(s/τ(s)), in the shape of `s`, if `rational`; `out` is a buffer for it."""
        raise NotImplementedError(f"{type(self).__name__} has no fraction for exp(s/τ)")

    def odds_slope(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the derivative of `odds`, in the shape of `s`; `out` is a buffer for it."""
        raise NotImplementedError(f"{type(self).__name__} has no fraction for exp(s/τ)")

    def curve(self, s: Tensor) -> Tensor | None:
        """Return the current τ(s), for pictures and logs; None if τ depends on more than s."""
        try:
            tau: Tensor = self(s)
        except NotImplementedError:
            return None
        return tau

    def range(self, low: float = -1.0, high: float = 1.0) -> TauRange:
        """Return the temperatures of similarities in [low, high], and whether s / τ(s) grows there.

        Where τ depends on more than s, the bounds are `tau_min` and `tau_max`.

        >>> from solo_dyntemp.temperature import CosineTemperature
        >>> found = CosineTemperature(0.1, 0.2).range(-0.5, 0.5)
        >>> round(found.tau_min, 6), round(found.tau_max, 6), found.monotone
        (0.1, 0.15, True)
        """
        with torch.no_grad():
            parameter = next(self.parameters(), None) if isinstance(self, nn.Module) else None
            device = None if parameter is None else parameter.device
            s = torch.linspace(low, high, GRID, dtype=torch.float64, device=device)
            tau = self.curve(s)
            if tau is None:
                return TauRange(self.tau_min, self.tau_max, None)
            grows = bool(((s / tau).diff() >= -1e-12).all())
            return TauRange(float(tau.min()), float(tau.max()), grows)

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperature of this batch. It must not change before the backward pass."""
        return self

    def survey(self, terms: TermsAt) -> Temperature:
        """Return the temperature of this batch, after a look at all of its pairs.

        Args:
            terms: as in `Outcome`: it calls `pairs` of the temperature that it is given.
        """
        return self

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        """Return τ of a block of pairs, (A, B), or one column with a value for each anchor, (A, 1).

        Args:
            s: similarities, anchors in rows, shape (A, B).
            mask: the positive and the excluded pairs.
        """
        tau: Tensor = self(s)
        return tau

    def log_weights(self, s: Tensor, mask: PairMask) -> Tensor | None:
        """Return the logarithm of each pair's factor in the denominator, (A, B); None for ones.

        Args:
            s: similarities without gradient, shape (A, B).
            mask: the positive and the excluded pairs.
        """
        return None

    def weigh(self, outcome: Outcome) -> Tensor:
        """Return the anchors' weighted losses, shape (M,); the loss returns their mean."""
        return outcome.losses

    def set_progress(self, progress: float) -> None:
        """Receive the fraction of the training that is done, in [0, 1]."""

    def use_labels(self, labels: Tensor) -> None:
        """Receive the class of each image of the data set, shape (size,); for oracles."""


def check_finite(**values: float) -> None:
    """Raise ValueError naming the first argument that is no finite number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} must be a number, got {value!r}")
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")


def check_positive(**values: float) -> None:
    """Raise ValueError naming the first argument that is no positive finite number."""
    check_finite(**values)
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")


def check_start(tau: float, tau_min: float, tau_max: float) -> None:
    """Raise ValueError unless `tau`, a temperature at the start, is in [tau_min, tau_max]."""
    if not tau_min <= tau <= tau_max:
        raise ValueError(f"tau must be in [{tau_min}, {tau_max}], got {tau}")


def check_range(tau_min: float, tau_max: float) -> None:
    """Raise ValueError unless 0 < tau_min <= tau_max, both finite."""
    check_positive(tau_min=tau_min, tau_max=tau_max)
    if tau_min > tau_max:
        raise ValueError(f"tau_min must not exceed tau_max, got {tau_min} > {tau_max}")


def largest_logit(temperature: Temperature) -> float:
    """Return an upper bound of |s / τ(s)| over [-1, 1]; for value objects the maximum on a grid."""
    return _grid_maximum(temperature) if is_dataclass(temperature) else 1 / temperature.tau_min


@lru_cache(maxsize=256)
def _grid_maximum(temperature: Temperature) -> float:
    with torch.no_grad():
        s = torch.linspace(-1, 1, GRID, dtype=torch.float64)
        return float((s / temperature(s)).abs().max())


def monotone_bound(temperature: Temperature) -> float:
    r"""Return the largest tau_max / tau_min at which s / τ(s) still grows on all of [-1, 1].

    With τ = tau_min + (tau_max - tau_min) f(s), the logit grows where τ - s τ' > 0, hence up to the
    ratio 1 + 1 / max(s f' - f). Above it a more similar pair can get a smaller logit, and the
    gradient through τ changes its sign.

    Raises:
        ValueError: tau_min equals tau_max, so there is no curve.

    >>> from solo_dyntemp.temperature import CosineTemperature, LinearTemperature
    >>> round(monotone_bound(CosineTemperature(0.1, 0.2)), 3)
    4.504
    >>> monotone_bound(LinearTemperature(0.1, 0.2))
    inf
    """
    low, width = temperature.tau_min, temperature.tau_max - temperature.tau_min
    if width <= 0:
        raise ValueError(f"{temperature} is constant: its bound cannot be computed")
    with torch.no_grad():
        s = torch.linspace(-1, 1, GRID, dtype=torch.float64)
        excess = (s * temperature.derivative(s) - (temperature(s) - low)) / width
    worst = float(excess.max())
    return 1 + 1 / worst if worst > 1e-9 else math.inf


def warn_unless_monotone(temperature: Temperature) -> None:
    """Warn if s / τ(s) decreases somewhere on [-1, 1]."""
    if temperature.tau_max <= temperature.tau_min:
        return
    ratio, bound = temperature.tau_max / temperature.tau_min, monotone_bound(temperature)
    if ratio > bound * (1 + 1e-6):
        warnings.warn(
            f"{temperature}: s/tau(s) is not monotone, a more similar pair can get a smaller "
            f"logit; tau_max/tau_min is {ratio:.3f}, monotone up to {bound:.3f}",
            UserWarning,
            stacklevel=4,
        )
