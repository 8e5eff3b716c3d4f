"""Accuracy of class scores."""

from __future__ import annotations

import math

from torch import Tensor

from solo_registry.metrics.checks import UNLABELLED


def standard_error(percent: float, images: int) -> float:
    """Return the standard error of an accuracy, of a proportion of `images` images, in points.

    >>> standard_error(50.0, 100), standard_error(100.0, 100)
    (5.0, 0.0)
    """
    return math.sqrt(max(0.0, percent * (100 - percent)) / max(1, images))


def top_accuracy(scores: Tensor, targets: Tensor, top: int = 1) -> float:
    """Return the percentage of rows whose true class is among the `top` highest scores.

    Equal scores are ordered by class index, so the value does not depend on the machine. Rows with
    target -1 are left out.

    Args:
        scores: (M, C) scores, higher is better.
        targets: (M,) classes in [0, C), or -1.
        top: number of highest scores that count, at least 1.

    Returns:
        Accuracy in percent, in [0, 100].

    Raises:
        ValueError: if `top` is below 1 or above C, or no row is labelled.

    >>> import torch
    >>> scores = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.1, 0.4]])
    >>> top_accuracy(scores, torch.tensor([1, 2])), top_accuracy(scores, torch.tensor([1, 2]), 2)
    (50.0, 100.0)
    """
    targets = targets.to(scores.device)
    labelled = targets != UNLABELLED
    total = int(labelled.sum())
    hits = top_hits(scores[labelled], targets[labelled], top)
    if total == 0:
        raise ValueError(f"targets holds no labelled row among {targets.shape[0]}")
    return 100.0 * hits / total


def balanced_accuracy(scores: Tensor, targets: Tensor) -> float:
    """Return the mean over the classes of the percentage of their rows that are classified right.

    On a set with as many rows of each class it equals `top_accuracy`. Classes without a row count
    as absent; equal scores are ordered by class index.

    Args:
        scores: (M, C) scores, higher is better.
        targets: (M,) classes in [0, C), or -1, which is left out.

    Raises:
        ValueError: if no row is labelled.

    >>> import torch
    >>> balanced_accuracy(torch.eye(2)[[0, 0, 0, 0]], torch.tensor([0, 0, 0, 1]))
    50.0
    """
    targets = targets.to(scores.device)
    classes = targets[targets != UNLABELLED].bincount().nonzero().flatten().tolist()
    if not classes:
        raise ValueError(f"targets holds no labelled row among {targets.shape[0]}")
    return sum(
        top_accuracy(scores[targets == label], targets[targets == label]) for label in classes
    ) / len(classes)


def top_hits(scores: Tensor, targets: Tensor, top: int = 1) -> int:
    """Count the rows whose true class is among the `top` highest scores, as `top_accuracy` does.

    Args:
        scores: (M, C) scores, higher is better.
        targets: (M,) classes in [0, C).
        top: number of highest scores that count.

    Raises:
        ValueError: if `top` is below 1 or above C.
    """
    num_classes = scores.shape[1]
    if not 1 <= top <= num_classes:
        raise ValueError(f"top must lie in [1, {num_classes}] (the number of classes), got {top}")
    ranked = scores.argsort(dim=1, descending=True, stable=True)[:, :top]
    return int((ranked == targets.unsqueeze(1)).sum())
