"""Checks of the number of crops, before anything runs."""

from __future__ import annotations

import warnings

from omegaconf import DictConfig

from solo_registry.errors import UserError


def require_two_views(cfg: DictConfig) -> None:
    """Check that there are exactly two large crops.

    Raises:
        UserError: there are not exactly two large crops and no small ones.
    """
    large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
    if (large, small) != (2, 0):
        raise UserError(
            f"method '{cfg.method}' compares exactly 2 large crops, "
            f"got {large} large and {small} small: see augmentations[].num_crops"
        )


def leave_out_small_crops(cfg: DictConfig) -> None:
    """Remove the small crops from the views, with a warning."""
    if count := cfg.data.num_small_crops:
        warnings.warn(
            f"method '{cfg.method}' compares large crops only: the config's {count} small crops "
            "are left out",
            stacklevel=2,
        )
        size = cfg.augmentations[0].crop_size
        cfg.augmentations = [crop for crop in cfg.augmentations if crop.crop_size == size]
        cfg.data.num_small_crops = 0


def require_views(cfg: DictConfig, *, least: int, small: bool) -> None:
    """Check that there are at least `least` crops, and small ones only if `small`.

    Raises:
        UserError: the numbers of crops do not fit.
    """
    large, few = cfg.data.num_large_crops, cfg.data.num_small_crops
    if few and not small:
        raise UserError(
            f"method '{cfg.method}' uses large crops only, "
            f"got {large} large and {few} small: see augmentations[].crop_size"
        )
    if large + few < least:
        raise UserError(
            f"method '{cfg.method}' compares at least {least} crops, got {large + few}: "
            "see augmentations[].num_crops"
        )
