"""Accuracy on head, middle and tail of the classes, if classes differ in their training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from solo_registry.metrics.accuracy import top_accuracy
from solo_registry.metrics.checks import UNLABELLED
from solo_registry.metrics.knn import knn_predict
from solo_registry.metrics.linear_probe import linear_probe
from solo_registry.metrics.protocol import Features, Result

UNEVEN = 2  # the groups are reported if the largest class has this many times the smallest
DEFINITION = (
    "classes sorted by their number of training images, ties by class; the first third (rounded "
    "up) is head, the last third (rounded down) tail, the rest middle; accuracy over the group's "
    "test images, the classifier chooses among all classes; protocols as above"
)


def groups(counts: Tensor) -> dict[str, list[int]] | None:
    """Divide the classes by their number of training images; None for balanced classes.

    Args:
        counts: (C,) training images of each class.

    >>> groups(torch.tensor([5, 100, 40, 10]))
    {'head': [1, 2], 'middle': [3], 'tail': [0]}
    >>> groups(torch.tensor([100, 99, 98])) is None
    True
    """
    if len(counts) < 3 or int(counts.max()) < UNEVEN * int(counts.min()):
        return None
    order = counts.argsort(descending=True, stable=True).tolist()
    third = len(order) // 3
    head = -(-len(order) // 3)
    return {"head": order[:head], "middle": order[head:-third], "tail": order[-third:]}


def group_accuracies(
    train: Features, test: Features, classes: Mapping[str, list[int]], result: Result
) -> dict[str, float | None]:
    """Measure each group by the kNN and the linear probe of `evaluate_features`.

    Args:
        train: features that fit the classifiers.
        test: features that are measured.
        classes: the classes of each group.
        result: the result of `evaluate_features` for these features. Its settings are used again.

    Returns:
        `<group>_knn_acc1` and `<group>_linear_acc1` in percent. Both are None for a group without
        test images; the second is None if the linear probe was not measured.
    """
    num_classes = sum(map(len, classes.values()))
    scores = {
        "knn": knn_predict(
            train.feats,
            train.targets,
            test.feats,
            k=int(result["knn_k"] or 1),
            temperature=float(result["knn_temperature"] or 0.1),
            num_classes=num_classes,
            distance="euclidean" if result["knn_distance"] == "euclidean" else "cosine",
        )
    }
    if result["linear_l2"] is not None:
        l2 = [float(result["linear_l2"])]
        data = (train.feats, train.targets, test.feats, test.targets)
        scores["linear"] = linear_probe(*data, num_classes=num_classes, l2=l2).scores
    accuracies: dict[str, float | None] = {}
    for name, members in classes.items():
        rows = torch.isin(test.targets, torch.tensor(members))
        for kind in ("knn", "linear"):
            measured = kind in scores and bool(rows.any())
            accuracies[f"{name}_{kind}_acc1"] = (
                top_accuracy(scores[kind][rows], test.targets[rows]) if measured else None
            )
    return accuracies


def long_tail_results(
    targets: Tensor,
    num_classes: int,
    features: Mapping[str, tuple[Features, Features]],
    results: Mapping[str, Result],
) -> dict[str, Any] | None:
    """Return the section `long_tail` of result.json, or None for balanced classes.

    Args:
        targets: (N,) labels of all training images.
        num_classes: number of classes.
        features: features of both splits, by the name of the backbone.
        results: results of `evaluate_features`, by the same names.
    """
    counts = targets[targets != UNLABELLED].bincount(minlength=num_classes)
    classes = groups(counts)
    measured = all(result["knn_acc1"] is not None for result in results.values())
    if classes is None or not measured:
        return None
    return {
        "definition": DEFINITION,
        "classes": classes,
        "train_counts": counts.tolist(),
        "results": {
            name: group_accuracies(*features[name], classes, result)
            for name, result in results.items()
        },
    }


def summary(long_tail: dict[str, Any]) -> str:
    """Return a line with the trained backbone's accuracies, for the terminal."""
    trained = long_tail["results"]["trained"]
    parts = []
    for name in long_tail["classes"]:
        found = [trained[f"{name}_{kind}_acc1"] for kind in ("knn", "linear")]
        shown = ["-" if value is None else f"{value:.2f}" for value in found]
        parts.append(f"{name} {' / '.join(shown)}")
    return f"trained backbone, kNN / linear probe (%): {', '.join(parts)}"
