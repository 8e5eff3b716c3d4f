"""The operations that views are made of, on one image or on a batch.

Crop, resize and equalization of one image are torchvision's transforms v2. The others are written
here, because for a small image the calls cost more than the arithmetic. They take a third of the
time of torchvision's, and the tests compare them with torchvision's results. They take float32
(..., C, H, W) in [0, 1] and may work in place. A factor is a number, or one per image (N, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from solo_registry.data.draws import BRIGHTNESS, CONTRAST, HUE, SATURATION
from solo_registry.data.sets import LUMA

Factor = float | Tensor
Step = Callable[[Tensor, Factor], Tensor]

BICUBIC = InterpolationMode.BICUBIC


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Compute in float32, whatever autocast or default dtype the caller has set.

    Autocast rounds products of matrices to bfloat16; `precision=64` makes new tensors float64.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


def resized_crop(image: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Cut a box (top, left, height, width) out of one uint8 image, resized to size x size."""
    cut: Tensor = F.resized_crop_image(image, *box, [size, size], BICUBIC)
    return cut


def resized_crops(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut another box out of each image, resized to size x size.

    Each direction is a matrix product with the weights of `resized_crop`'s filter, on any device.
    This costs little up to some hundred pixels. As in `resized_crop`, the result of each direction
    is rounded to whole steps of 1/255.

    Args:
        images: (N, C, H, W) uint8.
        boxes: (N, 4) top, left, height, width.
        size: height and width of the result, in pixels.

    Returns:
        (N, C, size, size) float32 in [0, 1], in steps of 1/255.
    """
    height, width = images.shape[-2:]
    top, left, tall, wide = boxes.unbind(1)
    rows = _bicubic_weights(height, top, tall, size).unsqueeze(1)
    columns = _bicubic_weights(width, left, wide, size)
    # all channels have the same weights; as rows of one matrix they need no copies of the weights
    across = images.float().flatten(1, 2) @ columns.mT
    across = across.round_().clamp_(0, 255).view(*images.shape[:3], size)
    return (rows @ across).round_().clamp_(0, 255).div_(255)


def _bicubic_weights(side: int, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return weights (N, size, side) of pixel j in resized pixel i: Keys's cubic, a = -1/2.

    Where the box shrinks, the filter is as wide as a resized pixel (antialiasing). Only pixels of
    the box count.
    """
    scale = (length / size).view(-1, 1, 1)
    place = torch.arange(side, device=start.device) - start.view(-1, 1)
    center = (torch.arange(size, device=start.device).view(1, -1, 1) + 0.5) * scale
    # with t = (2 - |x|)+ and u = (1 - |x|)+ the cubic is (t - 1) t² / 2 + (1 - 2u) u²
    x = ((place + 0.5).unsqueeze(1) - center).div_(scale.clamp_min(1)).abs_()
    t = x.neg_().add_(2).clamp_min_(0)
    beyond = t - 1
    weights = t.square_().mul_(beyond).mul_(0.5)
    u = beyond.clamp_min_(0)
    weights.addcmul_((1 - 2 * u), u.square_())
    inside = (place >= 0) & (place < length.view(-1, 1))
    weights.mul_(inside.unsqueeze(1))
    return weights.div_(weights.sum(-1, keepdim=True))


def center_crop(image: Tensor, *, size: int, resize: int | None = None) -> Tensor:
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


def adjust_brightness(x: Tensor, factor: Factor) -> Tensor:
    """Scale all values."""
    return x.mul_(factor).clamp_(max=1)


def adjust_contrast(x: Tensor, factor: Factor) -> Tensor:
    """Move values away from the mean luminance (factor > 1) or towards it."""
    mean = luminance(x).mean((-2, -1), keepdim=True)
    return mean.lerp(x, _weight(x, factor)).clamp_(0, 1)


def adjust_saturation(x: Tensor, factor: Factor) -> Tensor:
    """Move colours away from their luminance (factor > 1) or towards it."""
    return luminance(x).lerp(x, _weight(x, factor)).clamp_(0, 1)


def adjust_hue(x: Tensor, shift: Factor) -> Tensor:
    """Turn every colour by `shift` of the HSV colour circle, in [-0.5, 0.5]."""
    sectors, opposite, _ = _constants(x.device)
    value = x.amax(-3, keepdim=True)
    chroma = value - x.amin(-3, keepdim=True)
    # the hue in sixths of the circle: two per primary colour, and up to one to either side
    circle = torch.cat((x, x[..., :2, :, :]), dim=-3)
    sides = circle[..., 1:4, :, :] - circle[..., 2:5, :, :]
    sides = sides.div_(chroma.clamp_min(1e-12)).add_(sectors)
    first, second, third = torch.split(sides, 1, dim=-3)
    is_red, is_green = torch.split(x[..., :2, :, :] == value, 1, dim=-3)
    hue = torch.where(is_red, first, torch.where(is_green, second, third))
    # each primary colour is full on two sixths, absent on two opposite ones, linear between
    turns = hue.div_(6).add_(shift).add(opposite)
    distance = turns.sub_(turns.round()).abs_()
    absent = distance.mul_(-6).add_(2).clamp_(0, 1)
    return torch.addcmul(value, chroma, absent, value=-1)


ADJUST: dict[int, Step] = {
    BRIGHTNESS: adjust_brightness,
    CONTRAST: adjust_contrast,
    SATURATION: adjust_saturation,
    HUE: adjust_hue,
}


def grayscale(x: Tensor) -> Tensor:
    """Replace colours by their luminance."""
    return luminance(x).expand_as(x)


def luminance(x: Tensor) -> Tensor:
    """Return the brightness that an eye sees, (..., 1, H, W); the mean of other than 3 channels."""
    if x.shape[-3] != 3:
        return x.mean(-3, keepdim=True)
    weights = _constants(x.device)[2]
    return (weights @ x.flatten(-2)).view(*x.shape[:-3], 1, *x.shape[-2:])


def blur(x: Tensor, sigma: Factor) -> Tensor:
    """Blur by a Gaussian of width `sigma`, in pixels, the image mirrored at its borders.

    Both directions are a matrix product, which beats a convolution up to several hundred pixels.
    """
    height, width = x.shape[-2:]
    rows = _gaussian_weights(height, sigma, x.device)
    columns = rows if width == height else _gaussian_weights(width, sigma, x.device)
    return rows @ x @ columns.mT


def _gaussian_weights(side: int, sigma: Factor, device: torch.device) -> Tensor:
    """Weights (..., side, side) with which pixel j enters blurred pixel i."""
    exponents = _squared_distances(side, device) * (-0.5 / sigma**2)
    # e^-20 is negligible; smaller values would be denormal numbers, which are very slow
    weights = exponents.clamp_min_(-20).exp_().sum(-3, keepdim=exponents.dim() > 3)
    return weights.div_(weights.sum(-1, keepdim=True))


@lru_cache(maxsize=32)
def _squared_distances(side: int, device: torch.device) -> Tensor:
    """Squared distances (3, side, side) of pixel i to pixel j and to its two mirror images."""
    position = torch.arange(float(side))
    last = side - 1
    mirrors = torch.stack((position, -position, 2 * last - position))
    # the border pixels are their own mirror images: not counted twice
    mirrors[1, 0] = mirrors[2, last] = float("inf")
    return (position.view(-1, 1) - mirrors.unsqueeze(1)).square().to(device)


def solarize(x: Tensor) -> Tensor:
    """Invert the brighter half of the values."""
    return torch.where(x >= 0.5, 1 - x, x)


def equalize(x: Tensor) -> Tensor:
    """Spread the values of each channel evenly over the range."""
    spread: Tensor = F.equalize_image(x.mul(255).round_().to(torch.uint8))
    return spread.float().div_(255)


def flip(x: Tensor) -> Tensor:
    """Mirror left and right."""
    return x.flip(-1)


# operations after the jitters, in this order, by the name of their draw; each gets the blur's sigma
STEPS: tuple[tuple[str, Step], ...] = (
    ("gray", lambda x, _: grayscale(x)),
    ("blur", blur),
    ("solarize", lambda x, _: solarize(x)),
    ("equalize", lambda x, _: equalize(x)),
    ("flip", lambda x, _: flip(x)),
)


def _weight(x: Tensor, factor: Factor) -> Factor:
    return factor.to(x.dtype) if isinstance(factor, Tensor) else factor


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Starts of the three hue sectors, turns from each primary's opposite, and luminance."""
    sectors = torch.arange(3.0).mul(2).view(3, 1, 1)
    opposite = torch.tensor([3.0, 1.0, -1.0]).div(6).view(3, 1, 1)
    return sectors.to(device), opposite.to(device), torch.tensor(LUMA).to(device)
