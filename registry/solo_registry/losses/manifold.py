"""MMCR: the capacity of the manifolds that the views of images form."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import matrix_norm

from solo_registry.losses.rows import gathered, normalize


def mmcr(z: Tensor, lmda: float, momentum: Tensor | None = None) -> Tensor:
    r"""MMCR, maximum manifold capacity (Yerxa et al. 2023, arXiv 2303.03307).

    With Z_i the V unit vectors of image i, c_i their mean and C all the c_i, and the nuclear norm
    ‖·‖_*, the sum of singular values:

        loss = -‖C‖_* + λ mean_i ‖Z_i‖_*

    With a momentum network, c_i is halfway between the two networks' means. Z_i holds only the
    trained network's views, as in the authors' code; in lightly's loss it holds those of both
    networks. The value grows with the batch.

    Args:
        z: (N, V, D) projections of all views of each image, not normalised.
        lmda: λ, weight of the manifolds' own size, >= 0; 0 in the authors' code.
        momentum: (N, W, D) projections by the momentum network, not normalised, or None.

    Returns:
        Scalar; the centroids are gathered from all processes.

    >>> f"{mmcr(torch.eye(3)[:, None].expand(3, 2, 3), lmda=0.0):.4f}"  # three orthogonal images
    '-3.0000'
    """
    z = normalize(z)
    centroids = z.mean(1)
    if momentum is not None:
        centroids = torch.lerp(centroids, normalize(momentum).mean(1), 0.5)
    capacity: Tensor = matrix_norm(gathered(centroids), ord="nuc")
    size: Tensor | float = matrix_norm(z, ord="nuc").mean() if lmda else 0.0
    return lmda * size - capacity
