"""Random views of an image, from solo-learn's YAML keys.

The operations and their order are solo-learn's: crop, color jitter, grayscale, blur, solarization,
equalization, flip (see `ops`). Every draw comes from the `random.Random` that is passed in, so a
view is a function of image and generator alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from solo_registry.data import ops
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import SetInfo
from solo_registry.errors import UserError
from solo_registry.schema import AugmentationConfig, JitterConfig

# What evaluation resizes to before its center crop, where image sizes vary: 256 for a crop of 224.
EVAL_MARGIN = 256 / 224


class View:
    """A random view: uint8 (C, H, W) -> float32 (C, crop_size, crop_size), normalised.

    Args:
        pipeline: the checked config of the pipeline.
        info: the data set; operations on colour are left out where the images have none.
    """

    def __init__(self, pipeline: AugmentationConfig, info: SetInfo) -> None:
        size, has_colour = pipeline.crop_size, info.channels == 3
        self.crop: ops.Operation = (
            partial(
                ops.random_resized_crop,
                size=size,
                scale=(pipeline.rrc.crop_min_scale, pipeline.rrc.crop_max_scale),
            )
            if pipeline.rrc.enabled
            else partial(ops.center_crop, size=size)
        )
        jitter = partial(ops.color_jitter, ranges=_jitter_ranges(pipeline.color_jitter, has_colour))
        steps: list[tuple[float, ops.Operation]] = [
            (pipeline.color_jitter.prob, jitter),
            (pipeline.grayscale.prob if has_colour else 0, ops.grayscale),
            (pipeline.gaussian_blur.prob, ops.gaussian_blur),
            (pipeline.solarization.prob, ops.solarize),
            (pipeline.equalization.prob, ops.equalize),
            (pipeline.horizontal_flip.prob, ops.flip),
        ]
        self.steps = [(prob, operation) for prob, operation in steps if prob > 0]
        self.normalise = Normalise(info.with_statistics(pipeline.mean, pipeline.std))

    def __call__(self, image: Tensor, rng: random.Random | None = None) -> Tensor:
        """Draw a view of `image`; without `rng`, seeded from Python's global generator."""
        rng = rng or random.Random(random.getrandbits(64))
        x = self.crop(image, rng).float().div_(255)
        for prob, operation in self.steps:
            if rng.random() < prob:
                x = operation(x, rng)
        return self.normalise(x)


class Normalise:
    """Map (..., C, H, W) in [0, 1] to (x - mean) / std, in one fused operation."""

    def __init__(self, info: SetInfo) -> None:
        std = torch.tensor(info.std).view(-1, 1, 1)
        self.scale = 1 / std
        self.shift = -torch.tensor(info.mean).view(-1, 1, 1) / std

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in a new tensor."""
        return torch.addcmul(self.shift, x, self.scale)


class Views:
    """All views of an image, the large crops before the small ones, else in the config's order.

    Args:
        augmentations: the config's pipelines; a crop is large if it has the first one's crop_size.
        info: the data set.

    Attributes:
        num_large: number of large views.
        num_small: number of small views, of multi-crop.

    >>> info = SetInfo("dots", 1, 1, 8, (0.5,), (0.5,), ("dot",))
    >>> views = Views([{"crop_size": 8, "num_crops": 2}, {"crop_size": 4, "num_crops": 3}], info)
    >>> [view.shape[-1] for view in views(torch.zeros(1, 8, 8, dtype=torch.uint8))]
    [8, 8, 4, 4, 4]
    """

    def __init__(self, augmentations: Sequence[Any], info: SetInfo) -> None:
        if not augmentations:
            raise UserError("augmentations is empty: at least one pipeline is needed")
        pipelines = [read_pipeline(augmentation) for augmentation in augmentations]
        size = pipelines[0].crop_size
        large = [pipeline for pipeline in pipelines if pipeline.crop_size == size]
        small = [pipeline for pipeline in pipelines if pipeline.crop_size != size]
        self.num_large = sum(pipeline.num_crops for pipeline in large)
        self.num_small = sum(pipeline.num_crops for pipeline in small)
        self.views = [
            view
            for pipeline in large + small
            for view in [View(pipeline, info)] * pipeline.num_crops
        ]

    def __call__(self, image: Tensor, rng: random.Random | None = None) -> list[Tensor]:
        """Draw every view of `image`, uint8 (C, H, W)."""
        rng = rng or random.Random(random.getrandbits(64))
        return [view(image, rng) for view in self.views]


def build_view(augmentation: Any, info: SetInfo) -> Callable[[Tensor], Tensor]:
    """Build the view that one node of `augmentations` describes.

    Args:
        augmentation: a mapping with solo-learn's keys: `rrc`, `color_jitter`, `grayscale`,
            `gaussian_blur`, `solarization`, `equalization`, `horizontal_flip`, `crop_size`, and
            optionally `mean` and `std` in place of the data set's.
        info: the data set.

    Raises:
        UserError: an unknown key or a value out of its range.
    """
    return View(read_pipeline(augmentation), info)


def eval_transform(info: SetInfo, crop_size: int) -> Callable[[Tensor], Tensor]:
    """Build what evaluation does to images: size and normalise, nothing random.

    Images of one size are resized to `crop_size`; where sizes vary, the shorter side is resized to
    256/224 of it and the center is kept.

    Returns:
        A function uint8 (..., C, H, W) -> float32 (..., C, crop_size, crop_size).
    """
    normalise = Normalise(info)
    resized = crop_size if info.image_size else round(crop_size * EVAL_MARGIN)

    def transform(image: Tensor) -> Tensor:
        shown = ops.center_crop(image, size=crop_size, resize=resized)
        return normalise(shown.float().div_(255))

    return transform


def _jitter_ranges(jitter: JitterConfig, has_colour: bool) -> list[ops.Range]:
    """Which jitters there are, each with the range of its factor."""
    scalings: list[tuple[Callable[[Tensor, float], Tensor], float]] = [
        (ops.adjust_brightness, jitter.brightness),
        (ops.adjust_contrast, jitter.contrast),
    ]
    if has_colour:
        scalings.append((ops.adjust_saturation, jitter.saturation))
    ranges = [(adjust, max(0.0, 1 - s), 1 + s) for adjust, s in scalings if s > 0]
    if has_colour and jitter.hue > 0:
        ranges.append((ops.adjust_hue, -jitter.hue, jitter.hue))
    return ranges
