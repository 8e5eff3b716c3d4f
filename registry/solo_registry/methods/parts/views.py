"""Which numbers of crops a method can use."""

from __future__ import annotations

from omegaconf import DictConfig

from solo_registry.errors import UserError


def require_two_views(cfg: DictConfig) -> None:
    """Refuse any other number of crops.

    Raises:
        UserError: there are not exactly two large crops and no small ones.
    """
    large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
    if (large, small) != (2, 0):
        raise UserError(
            f"method '{cfg.method}' compares exactly 2 large crops, "
            f"got {large} large and {small} small: see augmentations[].num_crops"
        )
