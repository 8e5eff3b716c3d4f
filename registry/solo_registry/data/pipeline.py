"""One augmentation pipeline of the config, checked."""

from __future__ import annotations

from typing import Any

from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.config.resolve import read_section
from solo_registry.errors import UserError


def read_pipeline(augmentation: Any) -> AugmentationConfig:
    """Return the pipeline that a node of `augmentations` describes; absent operations are off.

    Args:
        augmentation: a mapping with solo-learn's keys, or an omegaconf node.

    Raises:
        UserError: an unknown key, no crop_size, or a value out of its range.

    >>> read_pipeline({"crop_size": 32, "horizontal_flip": {"prob": 0.5}}).horizontal_flip.prob
    0.5
    >>> read_pipeline({"crop_size": 32, "horizontal_flop": {"prob": 0.5}})
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: augmentations.horizontal_flop: Key 'horizontal_flop' not in \
'AugmentationConfig'. Did you mean 'horizontal_flip'?
    """
    pipeline = read_section("augmentations", AugmentationConfig, augmentation)
    if pipeline.crop_size is None:
        raise UserError(
            "augmentations.crop_size is null: a run fills it in when it sees the images"
        )
    low, high = pipeline.rrc.crop_min_scale, pipeline.rrc.crop_max_scale
    if low > high:
        raise UserError(
            f"augmentations.rrc.crop_min_scale must not exceed crop_max_scale, got {low} > {high}"
        )
    return pipeline
