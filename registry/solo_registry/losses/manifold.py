"""The capacity of the manifolds that the views of images make."""

from __future__ import annotations

from torch import Tensor
from torch.linalg import matrix_norm

from solo_registry.losses.rows import gathered, unit


def mmcr(z: Tensor, lmda: float) -> Tensor:
    r"""MMCR, maximum manifold capacity (Yerxa et al. 2023, arXiv 2303.03307).

    With Z_i the V unit vectors of image i, c_i their mean and C all the c_i, and the nuclear norm
    ‖·‖_*, the sum of singular values:

        loss = -‖C‖_* + λ mean_i ‖Z_i‖_*

    Its value grows with the batch. lightly's loss is the same for rows of length 1, but holds a
    D x D matrix for each image while it computes.

    Args:
        z: (N, V, D) projections of all views of each image, not normalised.
        lmda: λ, weight of the manifolds' own size, >= 0.

    Returns:
        Scalar; the centroids are gathered from all processes.

    >>> import torch
    >>> f"{mmcr(torch.eye(3)[:, None].expand(3, 2, 3), lmda=0.0):.4f}"  # three orthogonal images
    '-3.0000'
    """
    z = unit(z)
    capacity: Tensor = matrix_norm(gathered(z.mean(1)), ord="nuc")
    size: Tensor | float = matrix_norm(z, ord="nuc").mean() if lmda else 0.0
    return lmda * size - capacity
