"""Random views of an image, from solo-learn's YAML keys.

The operations and their order are solo-learn's: crop, color jitter, grayscale, blur, solarization,
equalization, flip (see `ops`). What is random about them comes from `draws`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.data import ops
from solo_registry.data.draws import COLUMNS, Draw, Draws, active_jitters, draw_pipeline
from solo_registry.data.hashing import mix, uniforms
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import SetInfo
from solo_registry.errors import UserError

# Where image sizes vary, evaluation resizes before its center crop: to 256 for a crop of 224.
EVAL_MARGIN = 256 / 224


class View:
    """A view: uint8 images -> float32 (..., C, crop_size, crop_size), normalised.

    Args:
        pipeline: the checked config of the pipeline.
        info: the data set; operations on colour are left out where the images have none.
    """

    def __init__(self, pipeline: AugmentationConfig, info: SetInfo) -> None:
        self.pipeline = pipeline
        self.channels = info.channels
        self.size = pipeline.size
        self.jitters = active_jitters(pipeline.color_jitter, info.channels)
        self.info = info.with_statistics(pipeline.mean, pipeline.std)
        self.normalise = Normalise(self.info)

    def draw(self, key: int, indexes: Any, sizes: Any) -> Draws:
        """Draw what is random, for images of these indexes and sizes (N, 2)."""
        shares = uniforms(key, indexes, COLUMNS)
        return draw_pipeline(self.pipeline, self.channels, np.asarray(sizes, np.int64), shares)

    def __call__(self, image: Tensor, drawn: Draw) -> Tensor:
        """Show one image, uint8 (C, H, W), as drawn."""
        x = ops.resized_crop(image, drawn.box, self.size).float().div_(255)
        if drawn.jitter:
            for kind in drawn.order:
                x = ops.ADJUST[kind](x, drawn.factors[kind])
        for name, step in ops.STEPS:
            if getattr(drawn, name):
                x = step(x, drawn.sigma)
        return self.normalise(x)


class Normalise:
    """Map (..., C, H, W) in [0, 1] to (x - mean) / std, in one fused operation."""

    def __init__(self, info: SetInfo) -> None:
        std = torch.tensor(info.std, dtype=torch.float32).view(-1, 1, 1)
        mean = torch.tensor(info.mean, dtype=torch.float32).view(-1, 1, 1)
        self.scale, self.shift = 1 / std, -mean / std

    def __call__(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in a new tensor."""
        if self.scale.device != x.device:
            self.scale, self.shift = self.scale.to(x.device), self.shift.to(x.device)
        return torch.addcmul(self.shift, x, self.scale)


class Views:
    """All views of an image: first the large crops, then the small ones, in the config's order.

    Args:
        augmentations: the config's pipelines. A crop is large if its crop_size is that of the first
            pipeline.
        info: the data set.

    Attributes:
        num_large: number of large views.
        num_small: number of small views, of multi-crop.

    >>> info = SetInfo("dots", 1, 1, 8, (0.5,), (0.5,), ("dot",))
    >>> views = Views([{"crop_size": 8, "num_crops": 2}, {"crop_size": 4, "num_crops": 3}], info)
    >>> image = torch.zeros(1, 8, 8, dtype=torch.uint8)
    >>> shown = views([image], views.draw(0, 0, [0], [(8, 8)]))
    >>> [view.shape[-1] for view in shown[0]]
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

    def draw(self, seed: int, epoch: int, indexes: Any, sizes: Any) -> list[Draws]:
        """Draw what is random about every view.

        Args:
            seed: the run's seed.
            epoch: the epoch.
            indexes: (N,) which image of the data set each is.
            sizes: (N, 2) height and width of each.
        """
        return [
            view.draw(mix(b"views", seed, epoch, number), indexes, sizes)
            for number, view in enumerate(self.views)
        ]

    def __call__(self, images: Sequence[Tensor], drawn: Sequence[Draws]) -> list[list[Tensor]]:
        """Show every view of each image, uint8 (C, H, W); returns one list per image.

        The pixels are float32, whatever precision the caller has set.
        """
        with ops.in_float32(images[0].device):
            columns = [
                [view(image, one) for image, one in zip(images, draws, strict=True)]
                for view, draws in zip(self.views, drawn, strict=True)
            ]
        return [list(views) for views in zip(*columns, strict=True)]


def eval_resize(info: SetInfo, crop_size: int) -> int:
    """Return the length in pixels of an image's shorter side before evaluation crops it."""
    return crop_size if info.image_size else round(crop_size * EVAL_MARGIN)


class EvalTransform:
    """Resizes and normalises images for evaluation, without randomness.

    Images of one size are resized to `crop_size`. Where sizes vary, the shorter side is resized to
    256/224 of `crop_size`, and the center is kept. This is an object and not a closure, because
    loader processes that are not forked get a pickled copy.

    Args:
        info: the data set.
        crop_size: height and width of the result, in pixels.

    >>> info = SetInfo("dots", 1, 1, 8, (0.5,), (0.5,), ("dot",))
    >>> EvalTransform(info, 4)(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).shape
    torch.Size([2, 1, 4, 4])
    """

    def __init__(self, info: SetInfo, crop_size: int) -> None:
        self.normalise = Normalise(info)
        self.size = crop_size
        self.resized = eval_resize(info, crop_size)

    def __call__(self, image: Tensor) -> Tensor:
        """Map uint8 (..., C, H, W) to float32 (..., C, crop_size, crop_size)."""
        shown = ops.center_crop(image, size=self.size, resize=self.resized)
        return self.normalise(shown.float().div_(255))
