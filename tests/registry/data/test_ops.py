import random

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from solo_registry.data import ops


@pytest.fixture
def image() -> Tensor:
    """Random colours, with a grey, a black, a white and three primary pixels among them."""
    x = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    x[:, 0, :3] = torch.tensor([0.5, 0.0, 1.0])
    x[:, 1, :3] = torch.eye(3)
    return x


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return bool((a - b).abs().max() <= tolerance)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.8])
def test_jitters_agree_with_torchvision(image: Tensor, factor: float) -> None:
    # torchvision's weight of red is 0.2989, ours is Pillow's 0.299
    assert close(ops.adjust_brightness(image.clone(), factor), F.adjust_brightness(image, factor))
    contrast = F.adjust_contrast(image, factor)
    assert close(ops.adjust_contrast(image.clone(), factor), contrast, 2e-4)
    saturation = F.adjust_saturation(image, factor)
    assert close(ops.adjust_saturation(image.clone(), factor), saturation, 2e-4)


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.07, 0.5])
def test_hue_agrees_with_torchvision(image: Tensor, shift: float) -> None:
    before = image.clone()
    assert close(ops.adjust_hue(image, shift), F.adjust_hue(image, shift), 1e-4)
    assert torch.equal(image, before)


def test_contrast_of_a_grey_image_keeps_its_mean() -> None:
    x = torch.rand(1, 8, 8) * 0.4 + 0.3
    changed = ops.adjust_contrast(x.clone(), 0.5)
    assert changed.mean() == pytest.approx(x.mean().item(), abs=1e-6)
    assert changed.std() == pytest.approx(x.std().item() / 2, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_agrees_with_torchvision(image: Tensor, sigma: float) -> None:
    wide = F.gaussian_blur(image, [31, 31], [sigma, sigma])
    assert close(ops.blur(image, sigma), wide, 1e-4)
    oblong = image[:, :, :11]
    assert close(ops.blur(oblong, 0.5), F.gaussian_blur(oblong, [9, 9], [0.5, 0.5]), 1e-4)


def test_the_rest_agrees_with_torchvision(image: Tensor) -> None:
    rng = random.Random(0)
    assert close(ops.grayscale(image, rng), F.rgb_to_grayscale(image, 3), 2e-4)
    assert close(ops.solarize(image, rng), F.solarize(image, 0.5))
    pixels = (image * 255).round().to(torch.uint8)
    assert close(ops.equalize(pixels / 255, rng), F.equalize(pixels) / 255)
    assert torch.equal(ops.flip(image, rng), F.horizontal_flip(image))


def test_crop_boxes_have_the_asked_areas_and_aspects(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []

    def record(image: Tensor, top: int, left: int, height: int, width: int, *_: object) -> Tensor:
        assert 0 <= top <= 60 - height and 0 <= left <= 80 - width
        boxes.append((height, width))
        return image

    monkeypatch.setattr(F, "resized_crop_image", record)
    rng = random.Random(0)
    for _ in range(2000):
        ops.random_resized_crop(torch.empty(3, 60, 80), rng, size=8, scale=(0.2, 0.6))
    height, width = torch.tensor(boxes).double().T
    area, aspect = height * width / 4800, width / height
    assert 0.18 < area.min() < 0.21 and 0.59 < area.max() < 0.63
    assert area.mean() == pytest.approx(0.4, abs=0.01)
    assert 0.7 < aspect.min() < 0.78 and 1.3 < aspect.max() < 1.4


def test_a_long_image_falls_back_to_its_center() -> None:
    strip = torch.zeros(1, 4, 400, dtype=torch.uint8)
    strip[:, :, 198:202] = 255
    crop = ops.random_resized_crop(strip, random.Random(0), size=4, scale=(1.0, 1.0))
    assert crop.eq(255).all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 12), (3, 20, 9), (5, 3, 30, 8)])
def test_center_crop_is_square(shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    assert ops.center_crop(image, size=8).shape[-2:] == (8, 8)
    assert ops.center_crop(image, size=8, resize=10).shape[-2:] == (8, 8)
