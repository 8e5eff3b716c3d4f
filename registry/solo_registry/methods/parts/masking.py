"""Modules that hide patches of a vision transformer and predict their pixels."""

from __future__ import annotations

import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM
from lightly.models.utils import get_at_index, set_at_index
from torch import Tensor, nn


class KeepPatches(nn.Module):
    """Replaces timm's patch dropout: keeps the `chosen` patches, or all of them if None."""

    def __init__(self, prefix: int) -> None:
        super().__init__()
        self.prefix = prefix  # tokens that are no patches
        self.chosen: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, prefix + L, D) to (N, prefix + kept, D)."""
        if self.chosen is None:
            return tokens
        kept = get_at_index(tokens[:, self.prefix :], self.chosen)
        return torch.cat([tokens[:, : self.prefix], kept], dim=1)


class PixelDecoder(nn.Module):
    """A small transformer that predicts all patches' pixels from the tokens of the visible ones.

    Args:
        features_dim: D, of the backbone's tokens.
        width: of the decoder.
        depth: number of its blocks.
        heads: attention heads of a block.
        prefix: tokens that are no patches.
        patches: L.
        pixels: P, numbers in a patch.
    """

    def __init__(
        self,
        features_dim: int,
        width: int,
        *,
        depth: int,
        heads: int,
        prefix: int,
        patches: int,
        pixels: int,
    ) -> None:
        super().__init__()
        self.prefix, self.patches = prefix, patches
        self.embed = nn.Linear(features_dim, width)
        self.transformer = MaskedVisionTransformerDecoderTIMM(
            patches, width, depth, heads, num_prefix_tokens=prefix
        )
        self.to_pixels = nn.Linear(width, pixels)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Map tokens (N, prefix + kept, D) of the patches `seen` (N, kept) to pixels (N, L, P)."""
        known = self.embed(tokens)
        first = torch.arange(self.prefix, device=seen.device).expand(len(seen), -1)
        places = torch.cat([first, seen + self.prefix], dim=1)
        hidden = self.transformer.mask_token.to(known.dtype)
        full = hidden.expand(len(seen), self.prefix + self.patches, -1)
        pixels: Tensor = self.to_pixels(self.transformer(set_at_index(full, places, known)))
        return pixels[:, self.prefix :]
