"""One augmentation pipeline of the config, checked."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.config.keys import check_keys
from solo_registry.errors import UserError, nearest


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
    solo_registry.errors.UserError: augmentations has no key 'horizontal_flop'. Did you mean \
'horizontal_flip'?
    """
    schema = OmegaConf.structured(AugmentationConfig)
    try:
        merged = OmegaConf.merge(schema, augmentation)
        pipeline = cast(AugmentationConfig, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = str(error.full_key or error.key)
        section, _, leaf = key.rpartition(".")
        known = OmegaConf.select(schema, section) if section else schema
        if known is not None and leaf not in known:
            hint = nearest(leaf, map(str, known))
            raise UserError(f"augmentations has no key '{key}'.{hint}") from error
        raise UserError(f"augmentations key '{key}': {str(error).splitlines()[0]}") from error
    check_keys(pipeline, AugmentationConfig, "augmentations.")
    low, high = pipeline.rrc.crop_min_scale, pipeline.rrc.crop_max_scale
    if low > high:
        raise UserError(
            f"augmentations.rrc.crop_min_scale must not exceed crop_max_scale, got {low} > {high}"
        )
    return pipeline
