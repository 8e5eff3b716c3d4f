"""Spherical k-means over a bank of all images' projections."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def spherical_kmeans(
    rows: Tensor, count: int, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Divide rows of length 1 into clusters by their cosine (Dhillon & Modha 2001).

    Args:
        rows: (N, D), at least `count` of them.
        count: K clusters. Each starts at a random row; an empty cluster keeps its centroid.
        steps: number of updates of the centroids.
        generator: draws the first centroids, on the CPU.

    Returns:
        Centroids (K, D) of length 1, and each row's cluster (N,).

    >>> rows = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    >>> _, found = spherical_kmeans(rows, 2, 5, torch.Generator().manual_seed(0))
    >>> bool(found[0] == found[1] and found[2] == found[3] and found[0] != found[2])
    True
    """
    order = torch.randperm(len(rows), generator=generator)[:count]
    centroids = rows[order.to(rows.device)]
    for _ in range(steps):
        found = (rows @ centroids.T).argmax(1)
        sums = torch.zeros_like(centroids).index_add_(0, found, rows)
        full = found.bincount(minlength=count)[:, None] > 0
        centroids = F.normalize(torch.where(full, sums, centroids), dim=1)
    return centroids, (rows @ centroids.T).argmax(1)


class ClusterBank(nn.Module):
    """The latest projections of every image, and their clusters; saved in the checkpoint.

    Every process holds the whole bank and divides it in the same way.

    Args:
        images: N training images.
        dim: D, length of a projection.
        counts: numbers of clusters, one for each division; the divisions take the views in turn.
        views: V, number of banks, one for each large crop.
    """

    bank: Tensor

    def __init__(self, images: int, dim: int, counts: list[int], views: int) -> None:
        super().__init__()
        self.counts = counts
        self.register_buffer("bank", torch.zeros(views, images, dim))  # 0 means not seen yet
        for head, count in enumerate(counts):
            prototypes = F.normalize(torch.randn(count, dim), dim=1)
            self.register_buffer(f"prototypes_{head}", prototypes)
            # in turn, until the first division
            self.register_buffer(f"assignments_{head}", torch.arange(images) % count)

    def heads(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each division's prototypes (K, D) and the images' clusters (N,), -1 for none."""
        for head in range(len(self.counts)):
            yield getattr(self, f"prototypes_{head}"), getattr(self, f"assignments_{head}")

    @torch.no_grad()
    def divide(self, steps: int, seed: int) -> None:
        """Cluster the images seen so far again, from centroids that depend on `seed` alone."""
        generator = torch.Generator().manual_seed(seed)
        for head, (prototypes, assignments) in enumerate(self.heads()):
            rows = self.bank[head % len(self.bank)]
            seen = rows.any(1)
            count = min(len(prototypes), int(seen.sum()))
            if count:
                centroids, found = spherical_kmeans(rows[seen], count, steps, generator)
                prototypes[:count] = centroids
                assignments.fill_(-1)
                assignments[seen] = found
