"""Geometry of features on the unit sphere: uniformity, tolerance, alignment and effective rank.

All features are l2-normalised first unless a docstring says otherwise. Pairs are processed in
chunks, so memory is O(chunk^2) beyond the features. Sums are in float64.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.metrics.checks import (
    UNLABELLED,
    check_feats,
    check_same_shape,
    check_targets,
)

_CHUNK = 1024


def uniformity(feats: Tensor, *, t: float = 2.0, chunk_size: int = _CHUNK) -> float:
    """Return the log of the mean Gaussian potential over distinct pairs; lower is more uniform.

    Wang & Isola 2020 (arXiv 2005.10242), equation 2: log E exp(-t ||x - y||^2), here over the
    unordered pairs i < j. The evaluation script of the dynamic-temperature paper also counts i = j.
    This adds N terms of 1 and so raises the value.

    Args:
        feats: (N, D) features, N >= 2.
        t: positive scale.
        chunk_size: rows per tile.

    Returns:
        A value in [-4t, 0]; 0 when all features coincide, near -2t when they are spread evenly in a
        high dimension.

    Raises:
        ValueError: if `feats` is no finite matrix of two rows or more, or an argument is not
            positive.

    >>> round(uniformity(torch.eye(3)), 6)
    -4.0
    """
    check_feats("feats", feats, min_rows=2)
    _check_positive("t", t)
    _check_positive("chunk_size", chunk_size)
    unit = _normalize(feats)
    total = unit.new_zeros((), dtype=torch.float64)
    chunks = torch.split(unit, chunk_size)
    for row, first in enumerate(chunks):
        for column, second in enumerate(chunks[row:], start=row):
            # exp(-t ||x - y||^2) = exp(2t (s - 1)), once per unordered pair
            tile = (first @ second.T).clamp_(-1, 1).sub_(1).mul_(2 * t).exp_()
            tile = tile.triu_(diagonal=1) if row == column else tile
            total += tile.sum(dim=1, dtype=torch.float64).sum()
    pairs = len(unit) * (len(unit) - 1) / 2
    return math.log(float(total) / pairs)


def tolerance(feats: Tensor, targets: Tensor) -> float:
    """Return the mean cosine of distinct features of one class; higher is more tolerant.

    Wang & Liu 2021 (arXiv 2012.09740), section 4.3: E[x . y 1{same class}], here the mean over the
    pairs i != j with equal targets, all classes pooled. The evaluation script of the
    dynamic-temperature paper sums the same-class cosines with i = j included and divides by
    N^2 / 10, which is a mean only for ten classes of equal size. Cost is O(N D): the sum over the
    pairs of a class is ||sum x||^2 - sum ||x||^2.

    Args:
        feats: (N, D) features.
        targets: (N,) classes; rows with -1 (unlabelled) are left out.

    Returns:
        A value in [-1, 1].

    Raises:
        ValueError: if shapes or dtypes are wrong, or no two rows share a class.

    >>> tolerance(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    1.0
    """
    sums, counts, squares = _class_sums(feats, targets)
    pairs = float((counts * (counts - 1)).sum())
    if pairs == 0:
        raise ValueError(f"tolerance needs two rows of one class, got {len(feats)} rows with none")
    return float((sums.square().sum() - squares) / pairs)


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Return the mean squared distance of positive pairs; lower is better aligned.

    Wang & Isola 2020 (arXiv 2005.10242), equation 1 with alpha = 2.

    Args:
        z1: (N, D) features of one view of each image.
        z2: (N, D) features of another view, in the same order.

    Returns:
        A value in [0, 4].

    Raises:
        ValueError: if the shapes differ or a view is no finite matrix.

    >>> alignment(torch.eye(2), 3 * torch.eye(2)), alignment(torch.eye(2), -torch.eye(2))
    (0.0, 4.0)
    """
    check_same_shape("z1", z1, "z2", z2)
    total = 0.0
    for first, second in zip(torch.split(z1, _CHUNK), torch.split(z2, _CHUNK), strict=True):
        gaps = (_normalize(first) - _normalize(second.to(first.device))).double().square().sum()
        total += float(gaps)
    return total / len(z1)


def inter_class_uniformity(feats: Tensor, targets: Tensor, *, t: float = 2.0) -> float:
    """Return the uniformity of the class centroids; lower means better separated classes.

    The dynamic-temperature paper names this measure, but its exact formula was not available to us.
    Here the centroid of a class is the l2-normalised mean of its l2-normalised features. The value
    is the `uniformity` of the centroids, over distinct pairs of classes.

    Args:
        feats: (N, D) features.
        targets: (N,) classes; rows with -1 (unlabelled) are left out.
        t: positive scale.

    Returns:
        A value in [-4t, 0].

    Raises:
        ValueError: if shapes or dtypes are wrong, or fewer than two classes are present.

    >>> round(inter_class_uniformity(torch.eye(2), torch.tensor([0, 1])), 6)
    -4.0
    """
    sums, counts, _ = _class_sums(feats, targets)
    present = sums[counts > 0]
    if len(present) < 2:
        raise ValueError(f"inter_class_uniformity needs two classes, got {len(present)}")
    return uniformity(present, t=t)


def rankme(feats: Tensor, *, chunk_size: int = _CHUNK) -> float:
    """Return the effective rank: exp of the entropy of the normalised singular values.

    Roy & Vetterli 2007 (EUSIPCO, "The effective rank") define the same quantity under that name.
    Garrido et al. 2023 (arXiv 2210.02885), equation 1: exp(-sum p log p) with p = sigma / sum sigma
    of the features as they are, neither normalised nor centred. The paper's 1e-7 inside p only
    guards log 0 and is replaced by 0 log 0 = 0. Singular values come in float64 from a QR
    decomposition updated chunk by chunk, which does not square the condition number.

    Args:
        feats: (N, D) features.
        chunk_size: rows per QR update.

    Returns:
        A value in [1, min(N, D)]; 0 for a matrix of zeros.

    Raises:
        ValueError: if `feats` is no finite matrix or `chunk_size` is not positive.

    >>> round(rankme(torch.eye(4)), 6)
    4.0
    """
    check_feats("feats", feats)
    _check_positive("chunk_size", chunk_size)
    upper = feats.new_zeros((0, feats.shape[1]), dtype=torch.float64)
    for chunk in torch.split(feats.detach(), max(chunk_size, feats.shape[1])):
        upper = torch.linalg.qr(torch.cat([upper, chunk.double()]), mode="r").R
    sigma = torch.linalg.svdvals(upper)
    if not bool(sigma.any()):
        return 0.0
    return math.exp(float(torch.special.entr(sigma / sigma.sum()).sum()))


def _normalize(feats: Tensor) -> Tensor:
    return F.normalize(feats.detach().float(), dim=1)


def _class_sums(feats: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the sum of normalised features and the number of rows per class, and Σ ||x||²."""
    check_feats("feats", feats)
    check_targets("targets", targets, len(feats))
    targets = targets.to(feats.device)
    classes = max(int(targets.max()) + 1, 1)
    sums = feats.new_zeros((classes, feats.shape[1]), dtype=torch.float64)
    squares = 0.0
    for chunk, chunk_targets in zip(
        torch.split(feats, _CHUNK), torch.split(targets, _CHUNK), strict=True
    ):
        keep = chunk_targets != UNLABELLED
        unit = _normalize(chunk[keep]).double()
        sums.index_add_(0, chunk_targets[keep], unit)
        squares += float(unit.square().sum())
    counts = torch.bincount(targets[targets != UNLABELLED], minlength=classes).double()
    return sums, counts, squares


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
