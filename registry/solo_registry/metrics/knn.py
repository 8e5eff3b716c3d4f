"""Weighted k-nearest-neighbour classification of frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from solo_registry.metrics.accuracy import top_accuracy
from solo_registry.metrics.checks import check_split, check_targets
from solo_registry.metrics.neighbours import CHUNK_SIZE, Distance, KNNVoter


def knn_predict(
    train_feats: Tensor,
    train_targets: Tensor,
    test_feats: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.1,
    num_classes: int,
    distance: Distance = "cosine",
    chunk_size: int = CHUNK_SIZE,
    device: torch.device | str | None = None,
) -> Tensor:
    """Score the classes of test features by a weighted vote of their nearest train features.

    Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination"
    (arXiv 1805.01978), section 3.4: features are l2-normalised and each of the k nearest neighbours
    votes for its class with weight exp(s / temperature), s being the cosine similarity. With
    `distance="euclidean"` features are taken as they are and the weight is 1 / (d + 1e-5), the rule
    of solo-learn's `knn_eval.distance_func`. The votes of a row are divided by their sum, which
    changes no ranking and cannot overflow at a small temperature.

    It takes the time of the N x M x D matrix product, and O(chunk_size * D + M * k) memory beyond
    the inputs. It computes in float32 for any dtype of the inputs. If several rows are equally
    near, any of them may be the k-th neighbour.

    Args:
        train_feats: (N, D) features of the bank.
        train_targets: (N,) classes in [0, num_classes); rows with -1 (unlabelled) are ignored.
        test_feats: (M, D) features to classify.
        k: number of neighbours, from 1 to the number of labelled train rows.
        temperature: positive; used with the cosine only.
        num_classes: number of classes C.
        distance: "cosine" or "euclidean".
        chunk_size: bank rows per tile, at least 1.
        device: where to compute; that of `train_feats` by default. Inputs are moved chunk by chunk.

    Returns:
        (M, C) float32 scores in [0, 1] on the device of the computation; each row sums to 1.

    Raises:
        ValueError: if an argument is out of range or the shapes do not fit each other.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> query = torch.tensor([[3.0, 1.0]])
    >>> scores = knn_predict(bank, torch.tensor([0, 1]), query, k=2, temperature=1.0, num_classes=2)
    >>> [round(score, 4) for score in scores[0].tolist()]
    [0.653, 0.347]
    """
    vote = KNNVoter(num_classes, temperature, distance, chunk_size, device)
    check_split(train_feats, train_targets, test_feats, num_classes)
    return vote.scores(*vote.nearest([(train_feats, train_targets)], test_feats, k))


def knn_accuracy(
    train_feats: Tensor,
    train_targets: Tensor,
    test_feats: Tensor,
    test_targets: Tensor,
    *,
    k: Sequence[int] = (20,),
    temperature: float = 0.1,
    num_classes: int,
    distance: Distance = "cosine",
    chunk_size: int = CHUNK_SIZE,
    device: torch.device | str | None = None,
) -> dict[int, float]:
    """Return the top-1 accuracy of `knn_predict` for several k, at the cost of the largest.

    Args:
        train_feats: (N, D) features of the bank.
        train_targets: (N,) classes, -1 for unlabelled.
        test_feats: (M, D) features to classify.
        test_targets: (M,) true classes; rows with -1 are left out of the accuracy.
        k: numbers of neighbours.
        temperature: positive; used with the cosine only.
        num_classes: number of classes.
        distance: "cosine" or "euclidean".
        chunk_size: bank rows per tile.
        device: where to compute.

    Returns:
        Accuracy in percent by k, in the order given.

    Raises:
        ValueError: as in `knn_predict`; also if `k` is empty or no test row is labelled.

    >>> bank = torch.eye(3)
    >>> classes = torch.arange(3)
    >>> knn_accuracy(bank, classes, bank, classes, k=(1, 2), num_classes=3)
    {1: 100.0, 2: 100.0}
    """
    vote = KNNVoter(num_classes, temperature, distance, chunk_size, device)
    if not k or min(k) < 1:
        raise ValueError(f"k must name numbers of neighbours of at least 1, got {list(k)}")
    check_split(train_feats, train_targets, test_feats, num_classes)
    check_targets("test_targets", test_targets, test_feats.shape[0], num_classes)
    similarity, classes = vote.nearest([(train_feats, train_targets)], test_feats, max(k))
    return {
        each: top_accuracy(vote.scores(similarity[:, :each], classes[:, :each]), test_targets)
        for each in k
    }
