"""Histograms of cosine similarities: positives, false negatives, true negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.metrics.checks import UNLABELLED, check_same_shape, check_targets

_CHUNK = 1024


@dataclass(frozen=True)
class SimilarityHistogram:
    """Densities of cosine similarities on [-1, 1]; each integrates to 1.

    Attributes:
        edges: (bins + 1,) edges of the bins.
        true_positives: (bins,) two views of one image.
        negatives: (bins,) views of two images, whatever their classes.
        false_negatives: (bins,) views of two images of one class; None without labels or pairs.
        true_negatives: (bins,) views of two images of two classes; None without labels or pairs.
    """

    edges: Tensor
    true_positives: Tensor
    negatives: Tensor
    false_negatives: Tensor | None
    true_negatives: Tensor | None


def similarity_histogram(
    z1: Tensor, z2: Tensor, targets: Tensor | None = None, *, bins: int = 100
) -> SimilarityHistogram:
    """Histogram the similarities between the first and the second views of a set of images.

    All pairs come from the matrix of cosines between z1 and z2. Its diagonal holds the true
    positives, the rest the negatives. A negative pair of one class is a false negative. Labels
    serve this analysis only.

    Args:
        z1: (N, D) projections of one view of each image, N >= 2.
        z2: (N, D) projections of another view, in the same order.
        targets: (N,) classes; pairs with an unlabelled (-1) image count as negatives only.
        bins: number of equal bins on [-1, 1].

    Returns:
        Densities per population, on the CPU, in float64.

    Raises:
        ValueError: if shapes differ, N < 2, `bins` < 1, or the targets do not fit.

    >>> histogram = similarity_histogram(torch.eye(2), torch.eye(2), torch.tensor([0, 1]), bins=4)
    >>> histogram.true_positives.tolist()
    [0.0, 0.0, 0.0, 2.0]
    >>> histogram.true_negatives.tolist(), histogram.false_negatives
    ([0.0, 0.0, 2.0, 0.0], None)
    """
    check_same_shape("z1", z1, "z2", z2)
    rows = len(z1)
    if rows < 2:
        raise ValueError(f"z1 and z2 must hold at least 2 images, got {rows}")
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if targets is None:
        targets = torch.full((rows,), UNLABELLED)
    check_targets("targets", targets, rows)
    targets = targets.to(z1.device)
    second = F.normalize(z2.detach().to(z1.device, torch.float32), dim=1)
    # Populations: 0 true positive, 1 negative with an unlabelled image, 2 false, 3 true negative.
    counts = torch.zeros(4 * bins, dtype=torch.long, device=z1.device)
    for row in range(0, rows, _CHUNK):
        anchors = slice(row, row + _CHUNK)
        first = F.normalize(z1[anchors].detach().float(), dim=1)
        for column in range(0, rows, _CHUNK):
            others = slice(column, column + _CHUNK)
            population = populations(targets[anchors], targets[others])
            if row == column:
                population.fill_diagonal_(0)
            index = ((first @ second[others].T + 1) * (bins / 2)).long().clamp_(0, bins - 1)
            counts += torch.bincount((index + bins * population).flatten(), minlength=4 * bins)
    positives, unknown, false, true = counts.cpu().double().view(4, bins)
    return SimilarityHistogram(
        edges=torch.linspace(-1, 1, bins + 1, dtype=torch.float64),
        true_positives=_density(positives),
        negatives=_density(unknown + false + true),
        false_negatives=_density(false) if bool(false.any()) else None,
        true_negatives=_density(true) if bool(true.any()) else None,
    )


def populations(targets: Tensor, others: Tensor) -> Tensor:
    """Return the population of each pair, (n, N): 1 unlabelled, 2 false, 3 true negative."""
    labelled = (targets != UNLABELLED).unsqueeze(1) & (others != UNLABELLED)
    same = targets.unsqueeze(1) == others
    return torch.where(labelled, 3 - same.long(), 1)


def _density(counts: Tensor) -> Tensor:
    return counts / (counts.sum() * (2 / len(counts)))
