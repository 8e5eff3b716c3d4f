"""Groups the rows that are views of one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from solo_dyntemp.gather import all_gather, mean_over_processes, rank, world_size


@dataclass(frozen=True)
class Views:
    """Rows grouped by their index.

    Attributes:
        everywhere: indexes of the rows of all processes, shape (world * M,).
        count: number of views of every image; None if it differs between images, or if the views of
            an image are on several processes.
        order: permutation of this process's rows that puts views of one image side by side; None
            if they already are, or if `count` is None.
        negatives: number of rows that are not of an anchor's image, the mean over anchors.
        anchors: numbers of this process's rows that have a positive; None if all have one.
        total: number of such rows of all processes, divided by the number of processes.
    """

    everywhere: Tensor
    count: int | None
    order: Tensor | None
    negatives: float
    anchors: Tensor | None = None
    total: float = 0.0

    @classmethod
    def pairs(cls, images: int, device: torch.device) -> Views:
        """Return two views of each image of this process, side by side; reads no values."""
        everyone = images * world_size()
        everywhere = torch.arange(everyone, device=device).repeat_interleave(2)
        return cls(everywhere, 2, None, 2 * everyone - 2)

    @classmethod
    def known(cls, indexes: Tensor, count: int) -> Views:
        """Return what `group` finds for `count` views of each image; reads no values.

        Args:
            indexes: index of each row of this process, shape (M,), each exactly `count` times, and
                all of them on this process.
            count: number of views of every image.
        """
        everywhere = all_gather(indexes)
        order = indexes.argsort(stable=True)
        return cls(everywhere, count, order, float(len(everywhere) - count))


def group(indexes: Tensor, *, skip_alone: bool = False) -> Views:
    """Group rows by index. Every process gets the same result.

    On a GPU this waits for the device, because the next steps depend on the counts.

    Args:
        indexes: index of each row of this process, shape (M,).
        skip_alone: a row whose index no other row has is no anchor, but remains a candidate.

    Raises:
        ValueError: an index has only one row, so that row has no positive.
    """
    everywhere = all_gather(indexes)
    distinct, image, counts = torch.unique(everywhere, return_inverse=True, return_counts=True)
    paired, counts = (counts > 1)[image], counts.cpu()
    single = counts == 1
    if bool(single.any()):
        if not skip_alone:
            raise ValueError(
                f"every index needs at least two views, but {int(single.sum())} of {len(counts)} "
                f"have one, the first is index {int(distinct.cpu()[single][0])}"
            )
        own = paired[rank() * len(indexes) :][: len(indexes)]
        total = float(counts[~single].sum()) / world_size()
        negatives = _negatives(counts)
        return Views(everywhere, None, None, negatives, own.nonzero().squeeze(1), total)
    count = int(counts[0])
    if bool((counts != count).any()) or not _together(everywhere, count):
        return Views(everywhere, None, None, _negatives(counts))
    return Views(everywhere, count, indexes.argsort(stable=True), _negatives(counts))


def _together(everywhere: Tensor, count: int) -> bool:
    """Return whether the `count` views of each image are all on one process."""
    if world_size() == 1:
        return True
    shares = everywhere.view(world_size(), -1)
    if shares.shape[1] % count:
        return False
    groups = shares.sort(dim=1).values.view(-1, count)
    return bool((groups == groups[:, :1]).all())


def _negatives(counts: Tensor) -> float:
    """Return the mean over rows of the number of rows with another index."""
    return float(counts.sum() - counts.square().sum() / counts.sum())


def positive_similarity(rows: Tensor, indexes: Tensor, views: int | None = None) -> Tensor:
    """Return the mean cosine of the positive pairs, a scalar without gradient.

    Only pairs within a process count; the mean is over all processes.

    Args:
        rows: embeddings at unit length, shape (M, D).
        indexes: index of each row, shape (M,).
        views: how often each index is there, if that is known; then no values are read.
    """
    with torch.no_grad():
        if views is not None:
            images = rows[indexes.argsort(stable=True)].view(-1, views, rows.shape[1])
            of_images = sum(images.unbind(1), start=rows.new_zeros(()))
            within = of_images.square().sum() - rows.square().sum()
            return mean_over_processes(within / max(1, len(images) * views * (views - 1)))
        _, image, counts = torch.unique(indexes, return_inverse=True, return_counts=True)
        sums = rows.new_zeros(len(counts), rows.shape[1]).index_add(0, image, rows)
        # Σ_{i≠p} s_ip over the views of one image is |Σ_i z_i|² - Σ_i |z_i|²
        total = sums.square().sum() - rows.square().sum()
        return mean_over_processes(total / (counts * (counts - 1)).sum().clamp_min(1))
