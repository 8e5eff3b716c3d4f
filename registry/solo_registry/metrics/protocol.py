"""Computes all measures of frozen features, and describes the protocol of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from solo_registry.metrics.accuracy import balanced_accuracy, top_accuracy
from solo_registry.metrics.checks import UNLABELLED, check_feats, check_targets
from solo_registry.metrics.geometry import (
    alignment,
    inter_class_uniformity,
    rankme,
    tolerance,
    uniformity,
)
from solo_registry.metrics.knn import knn_predict
from solo_registry.metrics.linear_probe import PROTOCOL as LINEAR_PROTOCOL
from solo_registry.metrics.linear_probe import ProbeResult, linear_probe
from solo_registry.metrics.neighbours import Distance

Value = float | int | str | None
Result = Mapping[str, Value]
"""What `evaluate_features` returns: plain values by name."""

KNN_PROTOCOL = "weighted kNN, k={knn_k}, {knn_distance}, temperature {knn_temperature:g}"
PROTOCOLS = {
    "knn_acc1": f"{KNN_PROTOCOL}; top-1 %",
    "knn_balanced_acc1": f"{KNN_PROTOCOL}; mean over the classes of their top-1 %",
    "linear_acc1": f"{LINEAR_PROTOCOL}; top-1 %",
    "linear_acc5": f"{LINEAR_PROTOCOL}; top-5 %",
    "linear_balanced_acc1": f"{LINEAR_PROTOCOL}; mean over the classes of their top-1 %",
    "uniformity": "log mean exp(-2 d^2) over pairs of test features; lower is more uniform",
    "tolerance": "mean cosine of same-class pairs of test features",
    "alignment": "mean squared distance of two views of one test image; lower is better aligned",
    "inter_class_uniformity": "uniformity of the class centroids of test features",
    "rankme": "exp of the entropy of the test features' normalised singular values",
}
"""What each key of `evaluate_features` means; {knn_...} are filled from the result itself."""

GEOMETRY = ("uniformity", "tolerance", "alignment", "inter_class_uniformity", "rankme")


@dataclass(frozen=True)
class Features:
    """Frozen features of one split.

    Attributes:
        feats: (N, D) finite features.
        targets: (N,) integer classes, -1 where unlabelled.

    Raises:
        ValueError: if shapes or dtypes are wrong or a feature is not finite.
    """

    feats: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        check_feats("feats", self.feats)
        check_targets("targets", self.targets, len(self.feats))

    @property
    def labelled(self) -> int:
        """Number of labelled rows."""
        return int((self.targets != UNLABELLED).sum())


def evaluate_features(
    train: Features,
    test: Features,
    *,
    num_classes: int,
    knn_k: int = 20,
    knn_temperature: float = 0.1,
    knn_distance: Distance = "cosine",
    views: tuple[Tensor, Tensor] | None = None,
    linear: bool | ProbeResult = True,
    device: torch.device | str | None = None,
) -> dict[str, Value]:
    """Measure frozen features by every protocol.

    Args:
        train: features that fit the classifiers.
        test: features that are measured.
        num_classes: number of classes.
        knn_k: neighbours of the kNN, at most the number of labelled train rows.
        knn_temperature: its temperature.
        knn_distance: "cosine" or "euclidean".
        views: (M, D) features of two augmented views of the test images, for the alignment.
        linear: whether to fit the linear probe, which takes the most time; or the fitted probe.
        device: where to compute; that of `train.feats` by default.

    Returns:
        A value per key of `PROTOCOLS`, and `knn_k`, `knn_temperature`, `knn_distance`, `linear_l2`
        and `linear_converged`. Accuracies are in percent, and nothing is rounded. A value is None
        if it was not requested or the data do not define it: no labels, one class, five classes or
        fewer for top-5, no views.

    Raises:
        ValueError: if the features, targets or settings do not fit each other.

    >>> import torch
    >>> data = Features(torch.eye(4), torch.tensor([0, 0, 1, 1]))
    >>> result = evaluate_features(data, data, num_classes=2, knn_k=1)
    >>> result["knn_acc1"], result["tolerance"], result["alignment"]
    (100.0, 0.0, None)
    """
    result: dict[str, Value] = dict.fromkeys(PROTOCOLS)
    result |= {"knn_k": knn_k, "knn_temperature": knn_temperature, "knn_distance": knn_distance}
    result |= {"linear_l2": None, "linear_converged": None}
    if train.labelled and test.labelled:
        data = (train.feats, train.targets, test.feats, test.targets)
        votes = knn_predict(
            *data[:3],
            k=knn_k,
            temperature=knn_temperature,
            num_classes=num_classes,
            distance=knn_distance,
            device=device,
        )
        result["knn_acc1"] = top_accuracy(votes, test.targets)
        result["knn_balanced_acc1"] = balanced_accuracy(votes, test.targets)
        if linear:
            probe = linear if isinstance(linear, ProbeResult) else None
            probe = probe or linear_probe(*data, num_classes=num_classes, device=device)
            result["linear_acc1"], result["linear_acc5"] = probe.acc1, probe.acc5
            result["linear_balanced_acc1"] = balanced_accuracy(probe.scores, test.targets)
            result["linear_l2"], result["linear_converged"] = probe.l2, probe.converged
    if device is not None:
        test = Features(test.feats.to(device), test.targets)
    return result | geometry(test, views)


def geometry(test: Features, views: tuple[Tensor, Tensor] | None = None) -> dict[str, Value]:
    """Measure the geometry, which needs no classifier; None where the data do not define it.

    Args:
        test: features.
        views: (M, D) features of two augmented views of the images, for the alignment.

    Raises:
        ValueError: if the views do not fit each other.

    >>> import torch
    >>> measured = geometry(Features(torch.eye(4), torch.tensor([0, 0, 1, 1])))
    >>> measured["tolerance"], measured["alignment"]
    (0.0, None)
    """
    counts = test.targets[test.targets != UNLABELLED].bincount()
    result: dict[str, Value] = dict.fromkeys(GEOMETRY)
    if len(test.feats) > 1:
        result["uniformity"] = uniformity(test.feats)
    if bool((counts > 1).any()):
        result["tolerance"] = tolerance(test.feats, test.targets)
    if int((counts > 0).sum()) > 1:
        result["inter_class_uniformity"] = inter_class_uniformity(test.feats, test.targets)
    if views is not None:
        result["alignment"] = alignment(*views)
    result["rankme"] = rankme(test.feats)
    return result


def describe(key: str, result: Result) -> str:
    """Return the protocol of one number of a result, with its settings filled in.

    Args:
        key: a key of `PROTOCOLS`.
        result: as returned by `evaluate_features`.

    Returns:
        One line.

    Raises:
        ValueError: if `key` is not a measure or the result lacks its settings.

    >>> describe("knn_acc1", {"knn_k": 20, "knn_temperature": 0.1, "knn_distance": "cosine"})
    'weighted kNN, k=20, cosine, temperature 0.1; top-1 %'
    """
    try:
        return PROTOCOLS[key].format(**result)
    except KeyError as error:
        raise ValueError(f"no protocol for {key!r}: {error} is unknown") from None
