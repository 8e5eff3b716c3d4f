"""A kNN classifier that collects its bank batch by batch during training."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from solo_registry.errors import UserError
from solo_registry.metrics.accuracy import top_hits
from solo_registry.metrics.checks import UNLABELLED, check_feats, check_targets
from solo_registry.metrics.neighbours import CHUNK_SIZE, Distance, KNNVoter

ROUND = 1024  # validation rows of each process that are classified at a time


class OnlineKNN:
    """Collect features of an epoch and classify validation features by their neighbours.

    The bank is in main memory, so that it does not take memory of the device from the training. It
    is a list of blocks that are searched in place. No row is copied more than twice, and the bank
    as a whole is never copied. It is float32, so that the value of the last epoch equals
    `knn_accuracy` on the same features.

    With several processes, each has a bank of its own share of the images. `classify` finds the
    neighbours in all banks together. So the value is that of one bank of all rows, and no
    process has a larger bank or a larger search.

    This is no `nn.Module`, because a bank belongs to one epoch and must not enter a checkpoint.

    Args:
        num_classes: number of classes C.
        k: number of neighbours.
        distance: "cosine" or "euclidean".

    Raises:
        ValueError: if an argument is out of range.

    >>> knn = OnlineKNN(num_classes=2, k=1)
    >>> knn.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    >>> knn.add_queries(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), torch.tensor([0, 0]))
    >>> knn.classify(torch.device("cpu"))
    (1, 2)
    """

    def __init__(self, num_classes: int, *, k: int = 20, distance: Distance = "cosine") -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k = k
        self._vote = KNNVoter(num_classes, distance=distance)
        self.reset()

    def __len__(self) -> int:
        """Number of labelled rows in the bank."""
        return self._rows

    def reset(self) -> None:
        """Empty the bank."""
        self._full: list[tuple[Tensor, Tensor]] = []
        self._recent: list[tuple[Tensor, Tensor]] = []
        self._queries: list[tuple[Tensor, Tensor]] = []
        self._rows = 0
        self._recent_rows = 0
        self._bad = 0  # values that are not finite

    def state_dict(self) -> dict[str, Any]:
        """Return the bank, for a checkpoint inside an epoch."""
        rows = {"rows": self._rows, "recent_rows": self._recent_rows, "bad": self._bad}
        return {"full": self._full, "recent": self._recent, **rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the bank that `state_dict` returned."""
        self._full, self._recent = list(state["full"]), list(state["recent"])
        self._rows, self._recent_rows = state["rows"], state["recent_rows"]
        self._bad = state["bad"]

    @torch.no_grad()
    def update(self, feats: Tensor, targets: Tensor) -> None:
        """Add a batch to the bank; unlabelled rows are dropped.

        Features that are not finite are accepted here, and the search refuses them later. A step
        that produces them also has a loss that is not finite, and the message about the loss says
        more.

        Args:
            feats: (n, D) features on any device.
            targets: (n,) classes, -1 for unlabelled.

        Raises:
            ValueError: if shapes, dtypes or targets are wrong, or D changes.
        """
        check_feats("feats", feats, finite=False)
        check_targets("targets", targets, feats.shape[0], self._vote.num_classes)
        self._check_dim(feats)
        keep = targets != UNLABELLED
        kept = feats.detach()[keep.to(feats.device)]
        if not len(kept):
            return
        kept = kept.to("cpu", torch.float32)
        self._bad += int((~kept.isfinite()).sum())
        self._recent.append((kept, targets[keep].cpu()))
        self._rows += len(kept)
        self._recent_rows += len(kept)
        if self._recent_rows >= CHUNK_SIZE:
            self._merge_recent()

    @torch.no_grad()
    def add_queries(self, test_feats: Tensor, test_targets: Tensor) -> None:
        """Keep a batch for `classify`; unlabelled rows are dropped.

        Args:
            test_feats: (M, D) features on any device.
            test_targets: (M,) classes, -1 for unlabelled.

        Raises:
            ValueError: if shapes, dtypes or targets are wrong, or D is not the bank's.
        """
        check_feats("test_feats", test_feats, finite=False)
        self._check_dim(test_feats)
        classes = self._vote.num_classes
        check_targets("test_targets", test_targets, test_feats.shape[0], classes)
        keep = test_targets != UNLABELLED
        kept = test_feats.detach()[keep].to("cpu", torch.float32)
        self._bad += int((~kept.isfinite()).sum())
        self._queries.append((kept, test_targets[keep].cpu()))

    @torch.no_grad()
    def classify(self, device: torch.device) -> tuple[int, int] | None:
        """Classify the queries by the banks of all processes; then forget the queries.

        Every process must call this, after at least one call of `add_queries`. In each round, every
        process searches its own bank for the queries of all processes. The k nearest of all rows
        found are those of one bank with all rows.

        Args:
            device: device of the tensors that the processes exchange.

        Returns:
            The number of this process's rows that were classified correctly, and the number of its
            rows. None if all banks together hold fewer than k rows.

        Raises:
            UserError: a feature of any process is not finite.
        """
        feats, targets = (torch.cat(part) for part in zip(*self._queries, strict=True))
        self._merge_recent()
        counts = torch.tensor([[len(feats), self._rows, self._bad]])
        queries, rows, bad = torch.cat(_everyones(counts, device)).T
        self._queries, self._bad = [], 0
        if bad.any():
            raise UserError(
                f"online kNN: {int(bad.sum())} feature values are NaN or infinite, so training has "
                "diverged: try a lower optimizer.lr, or precision=32"
            )
        if rows.sum() < self.k:
            return None
        right = 0
        rank = dist.get_rank() if len(rows) > 1 else 0
        for start in range(0, int(queries.max()), ROUND):
            mine = slice(start, start + ROUND)
            parts = _everyones(feats[mine], device)
            first = sum(map(len, parts[:rank]))
            found = [torch.cat(_everyones(part, device), 1) for part in self._nearest(parts)]
            similarity, classes = (part[first : first + len(parts[rank])] for part in found)
            best = similarity.topk(self.k)
            scores = self._vote.scores(best.values, classes.gather(1, best.indices))
            right += top_hits(scores, targets[mine])
        return right, len(targets)

    def _nearest(self, queries: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Find the k nearest rows of this bank; missing rows are at infinite distance."""
        together = torch.cat(queries)
        similarity = torch.full((len(together), self.k), -torch.inf)
        classes = torch.zeros((len(together), self.k), dtype=torch.long)
        count = min(self.k, self._rows)
        if count:
            near, of = self._vote.nearest(self._full, together, count)
            similarity[:, :count], classes[:, :count] = near.cpu(), of.cpu()
        return similarity, classes

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


def _everyones(rows: Tensor, device: torch.device) -> list[Tensor]:
    """Return the rows (n, ...) of every process, in the order of their ranks."""
    if not (dist.is_available() and dist.is_initialized()):
        return [rows]
    return [part.cpu() for part in gather_all_tensors(rows.to(device))]
