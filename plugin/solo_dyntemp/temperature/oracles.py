"""Temperatures that read the labels: diagnostics of what is possible, not methods to compare.

The training loop passes the labels by `use_labels`. They are not in the state dict.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    BatchContext,
    Temperature,
    check_finite,
    check_positive,
    check_range,
)
from solo_dyntemp.temperature.learned import AnchorTemperature
from solo_dyntemp.temperature.robust import check_size
from solo_registry.metrics.pair_mask import PairMask


class Labels(nn.Module):
    """The class of each image of the data set.

    Args:
        size: number of images in the data set.

    Raises:
        ValueError: size is not a positive integer.
    """

    labels: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        check_size(size)
        self.given = False
        self.register_buffer("labels", torch.zeros(size, dtype=torch.long), persistent=False)

    def fill(self, labels: Tensor) -> None:
        """Take the class of each image, shape (size,).

        Raises:
            ValueError: another number of labels, or an image without one.
        """
        if labels.shape != self.labels.shape:
            raise ValueError(
                f"an oracle needs {len(self.labels)} labels, got shape {tuple(labels.shape)}"
            )
        if int(labels.min()) < 0:
            raise ValueError(
                f"an oracle needs a label for every image, {int((labels < 0).sum())} have none"
            )
        self.labels.copy_(labels)
        self.given = True

    def of_anchors(self, batch: BatchContext) -> Tensor:
        """Return the classes of a batch's anchors, shape (M,).

        Raises:
            ValueError: there are no labels, or the loss passes no indexes or too large ones.
        """
        indexes = batch.known_indexes(len(self.labels))
        if not self.given:
            raise ValueError("an oracle needs the labels of the training images: `use_labels`")
        return self.labels[indexes]

    def same_class(self, batch: BatchContext) -> SameClass:
        """Return which pairs of a batch are of one class.

        Raises:
            ValueError: as `of_anchors`, or the candidates are not images of the batch.
        """
        anchors, candidates = self.of_anchors(batch), batch.candidates()
        if candidates is None:
            raise ValueError(
                "an oracle of pairs needs to know which image each candidate is, and a queue does "
                "not; use a loss without a queue"
            )
        return SameClass(anchors, self.labels[candidates])


class SameClass:
    """Which pairs of a batch are of one class.

    Args:
        anchors: class of each anchor, shape (M,).
        candidates: class of each candidate, shape (B,).
    """

    def __init__(self, anchors: Tensor, candidates: Tensor) -> None:
        self.anchors, self.candidates = anchors, candidates

    def negatives(self, mask: PairMask) -> Tensor:
        """Return the negatives of a block that are of the anchor's class, (A, B)."""
        own = self.anchors[mask.start : mask.start + len(mask.positive)]
        return (own[:, None] == self.candidates) & mask.negative


class ClassFrequencyTemperature(nn.Module, Temperature):
    r"""An oracle: an anchor's τ grows with the number of images of its class.

    τ_i = τ_min + (τ_max - τ_min) (n_i - n_least) / (n_most - n_least), n_i the size of the anchor's
    class. Classes of equal size get τ_max. Source: the question whether images of frequent classes
    (the head) should get 1.0 and those of rare ones (the tail) 0.1, asked of the authors of
    "Temperature schedules" (arXiv 2303.13664), whose argument it tests.

    Args:
        size: number of images in the data set; indexes are in [0, size).
        tau_min: temperature of the smallest class.
        tau_max: temperature of the largest class.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or a loss passes no indexes, or there are no labels.

    >>> temperature = ClassFrequencyTemperature(size=4)
    >>> temperature.use_labels(torch.tensor([0, 0, 0, 1]))
    >>> temperature.shift(torch.tensor([0, 1]))
    tensor([1.0000, 0.1000], dtype=torch.float64)
    """

    elementwise: ClassVar[bool] = False
    oracle: ClassVar[bool] = True

    def __init__(self, size: int, tau_min: float = 0.1, tau_max: float = 1.0) -> None:
        super().__init__()
        check_range(tau_min, tau_max)
        self.tau_min, self.tau_max = tau_min, tau_max
        self.classes = Labels(size)

    def use_labels(self, labels: Tensor) -> None:
        """Receive the class of each image of the data set."""
        self.classes.fill(labels)

    def shift(self, classes: Tensor) -> Tensor:
        """Return the temperature of each class in `classes`, by its number of images."""
        counts = torch.bincount(self.classes.labels).double()
        present = counts[counts > 0]
        least, most = float(present.min()), float(present.max())
        share = (counts - least) / (most - least) if least < most else torch.ones_like(counts)
        return (self.tau_min + (self.tau_max - self.tau_min) * share)[classes]

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperatures of the batch's anchors."""
        tau = self.shift(self.classes.of_anchors(batch))
        return AnchorTemperature(tau, self.tau_min, self.tau_max)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"tau_min={self.tau_min}, tau_max={self.tau_max}"


class MMTSTemperature(ClassFrequencyTemperature):
    r"""MM-TS: a wave over the training, shifted by the size of the anchor's cluster.

    τ_i(t) = ½ α cos(2π c t) + shift_i, t the progress of training, c the number of cycles, and
    shift_i as `ClassFrequencyTemperature` computes it from `shift_min` and `shift_max`. Source:
    Sheludzko et al. (arXiv 2603.08202) and their code, α | shifts | c = 0.08 | 0.05, 0.2 | 5. They
    count nouns or verbs of captions, or clusters. Here `use_labels` says what is counted: classes,
    as the training loop passes them, make it an oracle.

    Args:
        size: number of images in the data set; indexes are in [0, size).
        alpha: α, the height of the wave, not negative; less than twice `shift_min`.
        shift_min: shift of the smallest cluster.
        shift_max: shift of the largest cluster.
        cycles: c, periods in the whole training, positive.

    Raises:
        ValueError: an argument is outside its range, or as in `ClassFrequencyTemperature`.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 0.08,
        shift_min: float = 0.05,
        shift_max: float = 0.2,
        cycles: float = 5.0,
    ) -> None:
        check_finite(alpha=alpha)
        check_positive(cycles=cycles)
        super().__init__(size, shift_min, shift_max)
        if not 0 <= alpha < 2 * shift_min:
            raise ValueError(f"alpha must be in [0, {2 * shift_min}), got {alpha}")
        self.alpha, self.cycles, self.progress = alpha, cycles, 0.0

    def set_progress(self, progress: float) -> None:
        """Receive the fraction of the training that is done."""
        self.progress = progress

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperatures of the batch's anchors at the present progress."""
        shift = self.shift(self.classes.of_anchors(batch))
        wave = self.alpha / 2 * math.cos(2 * math.pi * self.cycles * self.progress)
        low, high = self.tau_min - self.alpha / 2, self.tau_max + self.alpha / 2
        return AnchorTemperature(shift + wave, low, high)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"alpha={self.alpha}, {super().extra_repr()}, cycles={self.cycles}"


class SameClassTemperature(nn.Module, Temperature):
    """An oracle: tau_max for negatives of the anchor's class, tau_min for all other pairs.

    Our own diagnostic. DySTreSS gives similar pairs a high temperature, since they may be false
    negatives; this one knows which are. So it is the ceiling of what a function of the similarity
    can reach: if it wins nothing, no τ(s) can by this mechanism. The temperature has no gradient.

    Args:
        size: number of images in the data set; indexes are in [0, size).
        tau_min: temperature of all other pairs.
        tau_max: temperature of negatives of the anchor's class.
        positives: whether positives get tau_max too, as the paper's cosine gives aligned ones.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, a loss passes no indexes or has a queue, or there
            are no labels.
    """

    elementwise: ClassVar[bool] = False
    oracle: ClassVar[bool] = True
    compares_labels: ClassVar[bool] = True

    def __init__(
        self, size: int, tau_min: float = 0.1, tau_max: float = 0.2, positives: bool = False
    ) -> None:
        super().__init__()
        check_range(tau_min, tau_max)
        self.tau_min, self.tau_max, self.positives = tau_min, tau_max, positives
        self.classes = Labels(size)

    def use_labels(self, labels: Tensor) -> None:
        """Receive the class of each image of the data set."""
        self.classes.fill(labels)

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperature of the batch's pairs."""
        return _PairTemperature(self, self.classes.same_class(batch))

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"tau_min={self.tau_min}, tau_max={self.tau_max}, positives={self.positives}"


class _PairTemperature(Temperature):
    """tau_max for chosen pairs of a batch, tau_min for the others."""

    elementwise = False

    def __init__(self, owner: SameClassTemperature, same: SameClass) -> None:
        self.same, self.positives = same, owner.positives
        self.tau_min, self.tau_max = owner.tau_min, owner.tau_max

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        high = self.same.negatives(mask)
        if self.positives:
            high = high | mask.positive
        return torch.full_like(s, self.tau_min).masked_fill_(high, self.tau_max)
