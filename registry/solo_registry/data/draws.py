"""Draws everything that is random about a view, for a batch at once and for every loader.

A draw is a function of (seed, epoch, index, view), never of the batch that an image is in. The
loaders (`augment` per image, `device` per batch, `dali`) only carry out these draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solo_registry.config.data_schema import AugmentationConfig, JitterConfig

Array = NDArray[Any]

LARGEST_ASPECT = 4 / 3  # of a crop: width to height, or height to width
BLUR_SIGMA = (0.1, 2.0)
TRIES = 10  # boxes tried until one fits into the image, as in torchvision
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # factors that change nothing
COLUMNS = 2 * TRIES + 17


class Draw(NamedTuple):
    """What is random about one view of one image."""

    box: list[int]  # top, left, height, width
    jitter: bool
    factors: list[float]  # brightness, contrast, saturation, hue
    order: list[int]  # the order of the active jitters
    gray: bool
    blur: bool
    sigma: float
    solarize: bool
    equalize: bool
    flip: bool


@dataclass(frozen=True)
class Draws:
    """What is random about one view of each of N images; fields as in `Draw`, with an axis more."""

    box: Array
    jitter: Array
    factors: Array
    order: Array
    gray: Array
    blur: Array
    sigma: Array
    solarize: Array
    equalize: Array
    flip: Array

    def __len__(self) -> int:
        return len(self.box)

    def of(self, rows: Array | slice) -> Draws:
        """Return the draws of some images, in the order of `rows`."""
        return Draws(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __iter__(self) -> Iterator[Draw]:
        """Yield image by image, in plain numbers."""
        columns = [getattr(self, field.name).tolist() for field in fields(self)]
        yield from map(Draw._make, zip(*columns, strict=True))


def draw_pipeline(
    pipeline: AugmentationConfig, channels: int, sizes: Array, shares: Array
) -> Draws:
    """Turn uniform numbers into one view of each image.

    Args:
        pipeline: the checked config of the pipeline.
        channels: of the images; operations on colour are left out where there are not three.
        sizes: (N, 2) height and width of the images.
        shares: (N, COLUMNS) numbers, uniform in [0, 1).
    """
    crop, rest = np.split(shares, [2 * TRIES + 2], axis=1)
    jitter, colour = pipeline.color_jitter, channels == 3
    chances = [
        jitter.prob,
        pipeline.grayscale.prob if colour else 0,
        pipeline.gaussian_blur.prob,
        pipeline.solarization.prob,
        pipeline.equalization.prob,
        pipeline.horizontal_flip.prob,
    ]
    happens = rest[:, : len(chances)] < np.array(chances)
    active = active_jitters(jitter, channels)
    ranks = rest[:, 6:10][:, active].argsort(axis=1)
    low, high = np.array(_jitter_ranges(jitter)).T
    factors = np.tile(np.array(NEUTRAL), (len(shares), 1))
    factors[:, active] = (low + (high - low) * rest[:, 10:14])[:, active]
    factors[~happens[:, 0]] = NEUTRAL
    return Draws(
        box=_boxes(pipeline, sizes, crop),
        jitter=happens[:, 0] & bool(active),
        factors=factors.astype(np.float32),
        order=np.array(active, np.int64)[ranks],
        gray=happens[:, 1],
        blur=happens[:, 2],
        sigma=_between(BLUR_SIGMA, rest[:, 14]).astype(np.float32),
        solarize=happens[:, 3],
        equalize=happens[:, 4],
        flip=happens[:, 5],
    )


def crops_of(drawn: Sequence[Draws]) -> Array:
    """Return the crop of each view as plain numbers.

    Args:
        drawn: what is random about each of V views of N images.

    Returns:
        (N, V, 5) int64: top, left, height and width in pixels of the image, and 1 where the view is
        flipped, else 0.
    """
    views = [np.column_stack((each.box, each.flip)) for each in drawn]
    return np.stack(views, axis=1).astype(np.int64)


def plain(box: Array) -> Draws:
    """Return the draws of evaluation: each view shows its `box`, (N, 4), and changes nothing."""
    count = len(box)
    never = np.zeros(count, bool)
    factors = np.tile(np.array(NEUTRAL, np.float32), (count, 1))
    order = np.zeros((count, 0), np.int64)
    sigma = np.ones(count, np.float32)
    return Draws(box, never, factors, order, never, never, sigma, never, never, never)


def center_boxes(sizes: Array, share: float = 1) -> Array:
    """Return the central squares, (N, 4), whose sides are `share` of the shorter sides."""
    side = np.rint(sizes.min(axis=1) * share).astype(np.int64)
    corner = (sizes - side[:, None] + 1) // 2
    return np.column_stack((corner, side, side)).astype(np.int64)


def active_jitters(jitter: JitterConfig, channels: int) -> list[int]:
    """Return the jitters that a pipeline applies to images with this number of channels."""
    strengths = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    there = range(4) if channels == 3 else range(2)
    return [kind for kind in there if jitter.prob > 0 and strengths[kind] > 0]


def _jitter_ranges(jitter: JitterConfig) -> list[tuple[float, float]]:
    scalings = (jitter.brightness, jitter.contrast, jitter.saturation)
    return [*((max(0.0, 1 - s), 1 + s) for s in scalings), (-jitter.hue, jitter.hue)]


def _boxes(pipeline: AugmentationConfig, sizes: Array, shares: Array) -> Array:
    """Return boxes of random area and aspect ratio, or `_largest_center` if none of ten fits."""
    if not pipeline.rrc.enabled:
        return center_boxes(sizes)
    scale = (pipeline.rrc.crop_min_scale, pipeline.rrc.crop_max_scale)
    area = sizes.prod(axis=1, keepdims=True) * _between(scale, shares[:, :TRIES])
    reach = math.log(LARGEST_ASPECT)
    aspect = np.exp(_between((-reach, reach), shares[:, TRIES : 2 * TRIES]))
    tried = np.rint(np.sqrt(np.stack((area / aspect, area * aspect), axis=-1)))  # (N, TRIES, 2)
    fits = ((tried > 0) & (tried <= sizes[:, None])).all(axis=-1)
    first = fits.argmax(axis=1)
    box = tried[np.arange(len(tried)), first]
    corner = shares[:, 2 * TRIES :] * (sizes - box + 1)
    drawn = np.concatenate((corner, box), axis=1).astype(np.int64)
    return np.where(fits.any(axis=1, keepdims=True), drawn, _largest_center(sizes))


def _largest_center(sizes: Array) -> Array:
    """Return the largest central boxes of an allowed aspect ratio, as torchvision does."""
    longest = np.rint(sizes[:, ::-1] * LARGEST_ASPECT).astype(np.int64)  # beside the other side
    box = np.minimum(sizes, longest)
    return np.concatenate(((sizes - box) // 2, box), axis=1).astype(np.int64)


def _between(limits: tuple[float, float], shares: Array) -> Array:
    low, high = limits
    scaled: Array = low + (high - low) * shares
    return scaled
