"""Checks on features and targets, shared by every evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

UNLABELLED = -1


def check_feats(name: str, feats: Tensor, *, min_rows: int = 1, finite: bool = True) -> None:
    """Check that features are a finite floating-point matrix.

    Args:
        name: name of the argument, for the error text.
        feats: (N, D) features.
        min_rows: least number of rows.
        finite: whether NaN and infinite values are errors.

    Raises:
        ValueError: if `feats` has another shape or dtype, too few rows, or holds NaN or infinity.

    >>> check_feats("feats", torch.ones(3))
    Traceback (most recent call last):
    ValueError: feats must have shape (N, D) with N >= 1 and D >= 1, got (3,)
    """
    if feats.ndim != 2 or feats.shape[0] < min_rows or feats.shape[1] < 1:
        expected = f"shape (N, D) with N >= {min_rows} and D >= 1"
        raise ValueError(f"{name} must have {expected}, got {tuple(feats.shape)}")
    if not feats.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {feats.dtype}")
    bad = int((~torch.isfinite(feats)).sum()) if finite else 0
    if bad:
        raise ValueError(f"{name} holds {bad} values of {feats.numel()} that are NaN or infinite")


def check_same_shape(name1: str, feats1: Tensor, name2: str, feats2: Tensor) -> None:
    """Check that two feature matrices have equal shapes, so that their rows are pairs.

    Args:
        name1: name of the first argument, for the error text.
        feats1: (N, D) features of the first view.
        name2: name of the second argument.
        feats2: (N, D) features of the second view.

    Raises:
        ValueError: if the shapes differ or one of them is no feature matrix.
    """
    check_feats(name1, feats1)
    check_feats(name2, feats2)
    if feats1.shape != feats2.shape:
        shapes = f"{tuple(feats1.shape)} and {tuple(feats2.shape)}"
        raise ValueError(f"{name1} and {name2} must have equal shapes, got {shapes}")


def check_targets(name: str, targets: Tensor, rows: int, num_classes: int | None = None) -> None:
    """Check that targets fit the features and the number of classes.

    Args:
        name: name of the argument, for the error text.
        targets: (N,) integer classes; -1 means unlabelled.
        rows: N, the number of feature rows they belong to.
        num_classes: if given, every target must be below it.

    Raises:
        ValueError: if shape, dtype or range is wrong.

    >>> check_targets("targets", torch.tensor([0, 3]), rows=2, num_classes=3)
    Traceback (most recent call last):
    ValueError: targets must lie in [0, 3) or be -1 (unlabelled), got 3
    """
    if targets.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), got {tuple(targets.shape)}")
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {targets.dtype}")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    if rows == 0:
        return
    low, high = int(targets.min()), int(targets.max())
    if low < UNLABELLED or (num_classes is not None and high >= num_classes):
        bound = "inf" if num_classes is None else num_classes
        wrong = low if low < UNLABELLED else high
        raise ValueError(f"{name} must lie in [0, {bound}) or be -1 (unlabelled), got {wrong}")


def check_split(
    train_feats: Tensor, train_targets: Tensor, test_feats: Tensor, num_classes: int
) -> None:
    """Check train and test features of a classifier.

    Raises:
        ValueError: if features or train targets are wrong, or train and test differ in D.
    """
    check_feats("train_feats", train_feats)
    check_feats("test_feats", test_feats)
    check_targets("train_targets", train_targets, len(train_feats), num_classes)
    if train_feats.shape[1] != test_feats.shape[1]:
        dims = f"{train_feats.shape[1]} and {test_feats.shape[1]}"
        raise ValueError(f"train_feats and test_feats must have equal D, got {dims}")
