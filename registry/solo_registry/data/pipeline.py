"""One augmentation pipeline of the config, checked."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.schema import AugmentationConfig
from solo_registry.errors import UserError, nearest

CHANCES = (
    "color_jitter",
    "grayscale",
    "gaussian_blur",
    "solarization",
    "equalization",
    "horizontal_flip",
)


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
    _check(pipeline)
    return pipeline


def _check(pipeline: AugmentationConfig) -> None:
    def refuse(key: str, value: Any, allowed: str) -> None:
        raise UserError(f"augmentations {key} must be {allowed}, got {value}")

    for name in CHANCES:
        prob = getattr(pipeline, name).prob
        if not 0 <= prob <= 1:
            refuse(f"{name}.prob", prob, "in [0, 1]")
    for name in ("brightness", "contrast", "saturation"):
        strength = getattr(pipeline.color_jitter, name)
        if not 0 <= strength < float("inf"):
            refuse(f"color_jitter.{name}", strength, "0 or more and finite")
    if not 0 <= pipeline.color_jitter.hue <= 0.5:
        refuse("color_jitter.hue", pipeline.color_jitter.hue, "in [0, 0.5]")
    low, high = pipeline.rrc.crop_min_scale, pipeline.rrc.crop_max_scale
    if not 0 < low <= high <= 1:
        allowed = "0 < crop_min_scale <= crop_max_scale <= 1"
        refuse("rrc.crop_min_scale and rrc.crop_max_scale", f"{low} and {high}", allowed)
    for name in ("crop_size", "num_crops"):
        count = getattr(pipeline, name)
        if count < 1:
            refuse(name, count, "at least 1")
