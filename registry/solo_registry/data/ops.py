"""The operations on one image that views are made of.

Crop, resize and equalization are torchvision's transforms v2. The others are written out because a
small image spends its time in calls, not in arithmetic: here they take a third of the time of
torchvision's, and the tests hold them against its results.

Crops take and give uint8; the rest takes float32 (C, H, W) in [0, 1] and may work in place.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from solo_registry.data.sets import LUMA

Operation = Callable[[Tensor, random.Random], Tensor]
# an adjustment, and the range that its factor is drawn from
Range = tuple[Callable[[Tensor, float], Tensor], float, float]

BICUBIC = InterpolationMode.BICUBIC
LOG_ASPECT = math.log(4 / 3)
BLUR_SIGMA = (0.1, 2.0)
LUMINANCE = torch.tensor(LUMA)
SECTORS = torch.arange(3.0).mul(2).view(3, 1, 1)
# turns of the colour circle from the opposite of red, green and blue to its start
OPPOSITE = torch.tensor([3.0, 1.0, -1.0]).div(6).view(3, 1, 1)


def random_resized_crop(
    image: Tensor, rng: random.Random, *, size: int, scale: tuple[float, float]
) -> Tensor:
    """Cut a box of random area and aspect ratio (3/4 to 4/3), and resize it to size x size.

    Args:
        image: uint8 (C, H, W).
        rng: source of every draw.
        size: height and width of the result, in pixels.
        scale: range of the box's share of the image's area.
    """
    height, width = image.shape[-2:]
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(-LOG_ASPECT, LOG_ASPECT))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(rng.random() * (height - h + 1))
            left = int(rng.random() * (width - w + 1))
            box: Tensor = F.resized_crop_image(image, top, left, h, w, [size, size], BICUBIC)
            return box
    return center_crop(image, size=size)


def center_crop(
    image: Tensor, _: random.Random | None = None, *, size: int, resize: int | None = None
) -> Tensor:
    """Resize the shorter side to `resize` (else `size`) and keep the central size x size.

    Args:
        image: uint8 (..., C, H, W).
        size: height and width of the result, in pixels.
        resize: length of the shorter side before the cut, at least `size`.
    """
    shorter = resize or size
    if min(image.shape[-2:]) != shorter:
        image = F.resize_image(image, [shorter], BICUBIC)
    return image if image.shape[-2:] == (size, size) else F.center_crop_image(image, [size, size])


def color_jitter(x: Tensor, rng: random.Random, *, ranges: list[Range]) -> Tensor:
    """Adjust brightness, contrast, saturation and hue by random factors, in random order."""
    for adjust, low, high in rng.sample(ranges, len(ranges)):
        x = adjust(x, rng.uniform(low, high))
    return x


def adjust_brightness(x: Tensor, factor: float) -> Tensor:
    """Scale all values."""
    return x.mul_(factor).clamp_(max=1)


def adjust_contrast(x: Tensor, factor: float) -> Tensor:
    """Move values away from the mean luminance (factor > 1) or towards it."""
    mean = luminance(x).mean()
    return x.mul_(factor).add_(mean, alpha=1 - factor).clamp_(0, 1)


def adjust_saturation(x: Tensor, factor: float) -> Tensor:
    """Move colours away from their luminance (factor > 1) or towards it."""
    grey = luminance(x)
    return x.mul_(factor).add_(grey, alpha=1 - factor).clamp_(0, 1)


def adjust_hue(x: Tensor, shift: float) -> Tensor:
    """Turn every colour by `shift` of the HSV colour circle, in [-0.5, 0.5]."""
    red, green, blue = x
    value = x.amax(0)
    chroma = value - x.amin(0)
    # the hue in sixths of the circle: two per primary colour, and up to one to either side
    sides = torch.stack((green - blue, blue - red, red - green))
    sides = sides.div_(chroma.clamp_min(1e-12)).add_(SECTORS)
    hue = torch.where(red == value, sides[0], torch.where(green == value, sides[1], sides[2]))
    # each primary colour is full on two sixths, absent on two opposite ones, linear between
    turns = hue.div_(6).add_(shift).add(OPPOSITE)
    distance = turns.sub_(turns.round()).abs_()
    absent = distance.mul_(-6).add_(2).clamp_(0, 1)
    return torch.addcmul(value, chroma, absent, value=-1)


def grayscale(x: Tensor, _: random.Random) -> Tensor:
    """Replace colours by their luminance."""
    return luminance(x).expand_as(x)


def luminance(x: Tensor) -> Tensor:
    """Return the brightness that an eye sees, (H, W); a grey image's own values."""
    if len(x) != 3:
        return x.mean(0)
    return (LUMINANCE @ x.flatten(1)).view(x.shape[1:])


def gaussian_blur(x: Tensor, rng: random.Random) -> Tensor:
    """Blur by a Gaussian of random width, 0.1 to 2 pixels, the image mirrored at its borders."""
    return blur(x, rng.uniform(*BLUR_SIGMA))


def blur(x: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of width `sigma`, in pixels.

    Both directions are a matrix product, which beats a convolution up to several hundred pixels.
    """
    height, width = x.shape[-2:]
    rows = _gaussian_weights(height, sigma)
    columns = rows if width == height else _gaussian_weights(width, sigma)
    return rows @ x @ columns.T


def _gaussian_weights(side: int, sigma: float) -> Tensor:
    """Weights (side, side) with which pixel j enters blurred pixel i."""
    exponents = _squared_distances(side).mul(-0.5 / sigma**2)
    # e^-20 counts for nothing; smaller ones would be denormal numbers, which take all the time
    weights = exponents.clamp_min_(-20).exp_().sum(0)
    return weights.div_(weights.sum(1, keepdim=True))


@lru_cache(maxsize=32)
def _squared_distances(side: int) -> Tensor:
    """Squared distances (3, side, side) of pixel i to pixel j and to its two mirror images."""
    position = torch.arange(float(side))
    last = side - 1
    mirrors = torch.stack((position, -position, 2 * last - position))
    # the border pixels are their own mirror images: not counted twice
    mirrors[1, 0] = mirrors[2, last] = float("inf")
    return (position.view(-1, 1) - mirrors.unsqueeze(1)).square()


def solarize(x: Tensor, _: random.Random) -> Tensor:
    """Invert the brighter half of the values."""
    return torch.where(x >= 0.5, 1 - x, x)


def equalize(x: Tensor, _: random.Random) -> Tensor:
    """Spread the values of each channel evenly over the range."""
    spread: Tensor = F.equalize_image(x.mul(255).round_().to(torch.uint8))
    return spread.float().div_(255)


def flip(x: Tensor, _: random.Random) -> Tensor:
    """Mirror left and right."""
    return x.flip(-1)
