"""Projection heads that several methods share; methods import the others from lightly."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import ProjectionHead
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.losses import full_precision, to_float32


def projector(features_dim: int, method_kwargs: DictConfig) -> nn.Sequential:
    """Return the two-layer projection head of SimCLR and MoCo v2."""
    return nn.Sequential(
        nn.Linear(features_dim, method_kwargs.proj_hidden_dim),
        nn.ReLU(),
        nn.Linear(method_kwargs.proj_hidden_dim, method_kwargs.proj_output_dim),
    )


def mlp(*widths: int, last_norm: bool) -> nn.Module:
    """Return linear layers of these widths with BatchNorm and ReLU between, as in MoCo v3."""
    blocks: list[Any] = [
        (before, after, nn.BatchNorm1d(after), nn.ReLU(inplace=True), False)
        for before, after in itertools.pairwise(widths[:-1])
    ]
    norm = nn.BatchNorm1d(widths[-1], affine=False) if last_norm else None
    blocks.append((widths[-2], widths[-1], norm, None, False))
    head: nn.Module = ProjectionHead(blocks)
    return head


class Prototypes(nn.Linear):
    """Similarities of rows (N, D) to K prototypes, which are normalised to length 1.

    >>> torch.equal(Prototypes(2, 3)(torch.zeros(5, 2)), torch.zeros(5, 3))
    True
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__(dim, count, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map (N, D) to (N, K), in float32 at least; rows of length 1 give cosines."""
        with full_precision(z):
            return F.linear(to_float32(z), F.normalize(to_float32(self.weight), dim=1))


class DINOHead(nn.Module):
    """Three layers to a bottleneck of length 1, then its similarities to the prototypes.

    lightly's head of this name uses torch's deprecated weight norm, which cannot be deep-copied.

    Args:
        features_dim: of the backbone.
        hidden_dim: of both hidden layers.
        bottleneck_dim: D.
        prototypes: K.
        batch_norm: whether the hidden layers have BatchNorm.
        norm_prototypes: whether the prototypes' length is fixed to 1; else it is learned.
    """

    def __init__(
        self,
        features_dim: int,
        hidden_dim: int,
        bottleneck_dim: int,
        prototypes: int,
        *,
        batch_norm: bool,
        norm_prototypes: bool,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (features_dim, hidden_dim):
            norm = [nn.BatchNorm1d(hidden_dim)] if batch_norm else []
            layers += [nn.Linear(before, hidden_dim), *norm, nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_dim, bottleneck_dim))
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = Prototypes(bottleneck_dim, prototypes)
        self.lengths = nn.Parameter(torch.ones(prototypes), requires_grad=not norm_prototypes)

    def forward(self, feats: Tensor) -> Tensor:
        """Map features (N, features_dim) to similarities (N, K)."""
        similarities: Tensor = self.prototypes(F.normalize(self.layers(feats), dim=1))
        return similarities * self.lengths

    def forget_gradients(self) -> None:
        """Delete the gradients of the prototypes, so that this step does not train them."""
        self.prototypes.weight.grad = self.lengths.grad = None
