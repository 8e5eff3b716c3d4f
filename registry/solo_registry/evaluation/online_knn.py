"""A kNN classifier that is filled batch by batch during training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from solo_registry.evaluation.accuracy import top_accuracy
from solo_registry.evaluation.checks import UNLABELLED, check_feats, check_targets
from solo_registry.evaluation.neighbours import CHUNK_SIZE, Distance, Vote


class OnlineKNN:
    """Collect features of an epoch and classify validation features by their neighbours.

    The bank lies in main memory, so that it never competes with the training for that of the
    device, as a list of blocks that are searched in place: no row is copied more than twice and the
    bank as a whole never. It is float32 by default, so that the value of the last epoch is that of
    `knn_accuracy` on the same features; `dtype=torch.float16` halves the memory (ImageNet with
    D = 2048: 5 GB instead of 10) and moves cosine similarities by less than 1e-3.

    It is no `nn.Module`: a bank belongs to one epoch and must not enter a checkpoint.

    Args:
        num_classes: number of classes C.
        k: number of neighbours.
        temperature: positive; used with the cosine only.
        distance: "cosine" or "euclidean".
        dtype: floating dtype of the bank.
        device: where to search; main memory's CPU by default.

    Raises:
        ValueError: if an argument is out of range.

    >>> knn = OnlineKNN(num_classes=2, k=1)
    >>> knn.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    >>> knn.compute(torch.tensor([[0.9, 0.1]]), torch.tensor([0]))
    100.0
    >>> knn.reset()
    >>> len(knn)
    0
    """

    def __init__(
        self,
        num_classes: int,
        *,
        k: int = 20,
        temperature: float = 0.1,
        distance: Distance = "cosine",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype must be floating point, got {dtype}")
        self.k = k
        self._dtype = dtype
        self._vote = Vote(num_classes, temperature, distance, device=device)
        self.reset()

    def __len__(self) -> int:
        """Number of labelled rows in the bank."""
        return self._rows

    def reset(self) -> None:
        """Empty the bank."""
        self._full: list[tuple[Tensor, Tensor]] = []
        self._recent: list[tuple[Tensor, Tensor]] = []
        self._rows = 0
        self._recent_rows = 0

    @torch.no_grad()
    def update(self, feats: Tensor, targets: Tensor) -> None:
        """Add a batch to the bank; unlabelled rows are dropped.

        Args:
            feats: (n, D) features on any device.
            targets: (n,) classes, -1 for unlabelled.

        Raises:
            ValueError: if shapes, dtypes or targets are wrong, D changes, or a feature is not
                finite.
        """
        check_feats("feats", feats)
        check_targets("targets", targets, feats.shape[0], self._vote.num_classes)
        self._check_dim(feats)
        keep = targets != UNLABELLED
        kept = feats.detach()[keep.to(feats.device)]
        if not len(kept):
            return
        if self._vote.distance == "cosine" and self._dtype != torch.float32:
            kept = F.normalize(kept.float(), dim=1)  # within the range of float16
        self._recent.append((kept.to("cpu", self._dtype), targets[keep].cpu()))
        self._rows += len(kept)
        self._recent_rows += len(kept)
        if self._recent_rows >= CHUNK_SIZE:
            self._merge_recent()

    @torch.no_grad()
    def scores(self, test_feats: Tensor) -> Tensor:
        """Score the classes of a batch against the bank, as `knn_predict` does.

        Args:
            test_feats: (M, D) features on any device.

        Returns:
            (M, C) scores; each row sums to 1.

        Raises:
            ValueError: if the bank holds fewer than k rows or the shape does not fit.
        """
        check_feats("test_feats", test_feats)
        self._check_dim(test_feats)
        self._merge_recent()
        return self._vote.scores(*self._vote.nearest(self._full, test_feats, self.k))

    def compute(self, test_feats: Tensor, test_targets: Tensor) -> float:
        """Top-1 accuracy of test features against the bank.

        Args:
            test_feats: (M, D) features.
            test_targets: (M,) classes; rows with -1 are left out.

        Returns:
            Accuracy in percent, in [0, 100].

        Raises:
            ValueError: as `scores`; also if no test row is labelled.
        """
        classes = self._vote.num_classes
        check_targets("test_targets", test_targets, test_feats.shape[0], classes)
        return top_accuracy(self.scores(test_feats), test_targets)

    def _check_dim(self, feats: Tensor) -> None:
        blocks = self._full or self._recent
        if blocks and blocks[0][0].shape[1] != feats.shape[1]:
            dim = blocks[0][0].shape[1]
            raise ValueError(f"features must have the bank's D={dim}, got D={feats.shape[1]}")

    def _merge_recent(self) -> None:
        """Join the small batches into one block, which makes the search fast."""
        if self._recent:
            feats, targets = zip(*self._recent, strict=True)
            self._full.append((torch.cat(feats), torch.cat(targets)))
            self._recent, self._recent_rows = [], 0
