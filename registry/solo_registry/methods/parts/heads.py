"""Projection heads that several methods share; the others come from lightly as they are."""

from __future__ import annotations

import itertools
from typing import Any

from lightly.models.modules.heads import ProjectionHead
from omegaconf import DictConfig
from torch import nn


def projector(features_dim: int, method_kwargs: DictConfig) -> nn.Sequential:
    """Return the two-layer projection head of SimCLR and MoCo v2."""
    return nn.Sequential(
        nn.Linear(features_dim, method_kwargs.proj_hidden_dim),
        nn.ReLU(),
        nn.Linear(method_kwargs.proj_hidden_dim, method_kwargs.proj_output_dim),
    )


def mlp(*widths: int, last_norm: bool) -> nn.Module:
    """Return linear layers of these widths with BatchNorm and ReLU between, as MoCo v3 has them."""
    blocks: list[Any] = [
        (before, after, nn.BatchNorm1d(after), nn.ReLU(inplace=True), False)
        for before, after in itertools.pairwise(widths[:-1])
    ]
    norm = nn.BatchNorm1d(widths[-1], affine=False) if last_norm else None
    blocks.append((widths[-2], widths[-1], norm, None, False))
    head: nn.Module = ProjectionHead(blocks)
    return head
