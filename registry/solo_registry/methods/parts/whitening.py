"""Iterative normalisation, which decorrelates a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from solo_registry.losses import full_precision, to_float32

GROUPS, STEPS, EPS, MOMENTUM = 64, 5, 1e-5, 0.1


class IterNorm(nn.Module):
    """Iterative normalisation (Huang et al. 2019, arXiv 1904.03441) with a learned affine map.

    Groups of channels are decorrelated by Newton's iteration for the inverse square root of their
    covariance (eq. 6 and algorithm 1). Evaluation uses running statistics. In training each process
    uses its own statistics, as BatchNorm does.

    Args:
        dim: D, number of channels; there are about 64 groups, of D / 64 channels each.

    >>> _ = torch.manual_seed(0)
    >>> z = IterNorm(4)(torch.randn(1000, 4) @ torch.randn(4, 4))
    >>> bool((z.var(0) - 1).abs().max() < 0.1)
    True
    """

    running_mean: Tensor
    running_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        width = (dim - 1) // GROUPS + 1
        while dim % width:
            width //= 2
        self.groups, self.width = dim // width, width
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(self.groups, width, 1))
        self.register_buffer("running_matrix", torch.eye(width).repeat(self.groups, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, D) to (N, D), in float32 at least."""
        with full_precision(z):
            return self.whiten(to_float32(z))

    def whiten(self, z: Tensor) -> Tensor:
        """Decorrelate the rows' channels and map them affinely."""
        x = z.T.reshape(self.groups, self.width, -1)
        if self.training:
            mean = x.mean(-1, keepdim=True)
            matrix = self.inverse_root(x - mean)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), MOMENTUM)
                self.running_matrix.lerp_(matrix.to(self.running_matrix.dtype), MOMENTUM)
        else:
            mean, matrix = self.running_mean.to(x.dtype), self.running_matrix.to(x.dtype)
        whitened = (matrix @ (x - mean)).reshape(len(self.weight), -1).T
        return whitened * to_float32(self.weight) + to_float32(self.bias)

    def inverse_root(self, x: Tensor) -> Tensor:
        """Return the inverse square roots (G, C, C) of the covariances of centred x (G, C, N)."""
        identity = torch.eye(self.width, dtype=x.dtype, device=x.device)
        covariance = EPS * identity + x @ x.mT / x.shape[-1]
        trace = covariance.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        root = identity.expand_as(covariance)
        for _ in range(STEPS):
            root = 1.5 * root - 0.5 * root @ root @ root @ (covariance / trace)
        return root / trace.sqrt()
