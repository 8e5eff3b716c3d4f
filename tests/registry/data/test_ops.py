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


@pytest.mark.parametrize("kind", ops.ADJUST)
def test_a_batch_with_a_factor_per_image_is_the_images_one_by_one(kind: int) -> None:
    batch = torch.rand(5, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([0.0, 0.2, 0.45, 1.0, 1.7]) - (0.5 if kind == ops.HUE else 0)
    alone = [ops.ADJUST[kind](x.clone(), f.item()) for x, f in zip(batch, factors, strict=True)]
    together = ops.ADJUST[kind](batch, factors.view(-1, 1, 1, 1))
    assert close(together, torch.stack(alone))


@pytest.mark.parametrize(("name", "step"), ops.STEPS)
def test_steps_on_a_batch_are_the_steps_on_its_images(name: str, step: ops.Step) -> None:
    batch = torch.rand(4, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    alone = [step(x, s.item()) for x, s in zip(batch, sigma, strict=True)]
    assert close(step(batch, sigma.view(-1, 1, 1, 1)), torch.stack(alone))


@pytest.mark.parametrize("size", [5, 16, 40])
def test_resized_crops_are_torchvisions(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 3, 24, 31), dtype=torch.uint8, generator=generator)
    boxes = [
        [0, 0, 24, 31],
        [3, 5, 7, 9],
        [0, 0, 1, 1],
        [12, 20, 12, 11],
        [4, 0, 16, 16],
        [23, 0, 1, 31],
    ]
    together = ops.resized_crops(pixels, torch.tensor(boxes), size) * 255
    for image, box, crop in zip(pixels, boxes, together, strict=True):
        # torchvision computes with weights of 16 bits
        assert (ops.resized_crop(image, box, size) - crop).abs().max() <= 2


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
    assert close(ops.grayscale(image), F.rgb_to_grayscale(image, 3), 2e-4)
    assert close(ops.solarize(image), F.solarize(image, 0.5))
    pixels = (image * 255).round().to(torch.uint8)
    assert close(ops.equalize(pixels / 255), F.equalize(pixels) / 255)
    assert torch.equal(ops.flip(image), F.horizontal_flip(image))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 8, 12), (3, 20, 9), (5, 3, 30, 8)])
def test_center_crop_is_square(shape: tuple[int, ...]) -> None:
    image = torch.zeros(shape, dtype=torch.uint8)
    assert ops.center_crop(image, size=8).shape[-2:] == (8, 8)
    assert ops.center_crop(image, size=8, resize=10).shape[-2:] == (8, 8)
