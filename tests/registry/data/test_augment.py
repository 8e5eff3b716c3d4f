from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.data import ops
from solo_registry.data import show as batch
from solo_registry.data.augment import EvalTransform, View, Views
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import SetInfo, TensorSet
from solo_registry.errors import UserError

MakeNoise = Callable[..., TensorSet]
Pipeline = Callable[..., dict[str, Any]]
OFF = {"rrc": {"enabled": False}, "crop_size": 8}


def build_view(augmentation: Any, info: SetInfo) -> Callable[..., Tensor]:
    """Makes a function (image, key) -> view."""
    view = View(read_pipeline(augmentation), info)

    def show(image: Tensor, key: int = 0) -> Tensor:
        (drawn,) = view.draw(key, [0], [image.shape[-2:]])
        return view(image, drawn)

    return show


def all_views(views: Views, image: Tensor, seed: int = 0) -> list[Tensor]:
    (shown,) = views([image], views.draw(seed, 0, [0], [image.shape[-2:]]))
    return shown


def denormalised(view: Tensor) -> Tensor:
    return view * 0.25 + 0.5


def test_nothing_enabled_only_normalises(noise: MakeNoise) -> None:
    images = noise()
    view = build_view(OFF, images.info)(images[0][0])
    assert view.dtype == torch.float32
    torch.testing.assert_close(denormalised(view), images[0][0] / 255)


def test_every_operation_at_once_is_finite_and_in_range(noise: MakeNoise, simclr: Pipeline) -> None:
    for channels in (1, 3):
        images = noise(channels=channels)
        view = build_view(simclr(crop_size=11), images.info)
        for index in range(len(images)):
            shown = view(images[index][0], index)
            assert shown.shape == (channels, 11, 11)
            assert denormalised(shown).min() >= -1e-5 and denormalised(shown).max() <= 1 + 1e-5


def test_the_image_itself_is_left_alone(noise: MakeNoise, simclr: Pipeline) -> None:
    images = noise()
    before = images.images.clone()
    for augmentation in (simclr(), simclr(rrc={"enabled": False})):
        views = Views([augmentation], images.info)
        for index in range(len(images)):
            all_views(views, images[index][0])
    assert torch.equal(images.images, before)


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("key", "operation"),
    [
        ("horizontal_flip", lambda x: x.flip(-1)),
        ("solarization", lambda x: torch.where(x < 0.5, x, 1 - x)),
    ],
)
def test_an_operation_happens_with_its_probability(
    noise: MakeNoise, key: str, operation: Callable[[Tensor], Tensor], prob: float
) -> None:
    images = noise()
    image = images[0][0]
    plain = image / 255
    view = build_view({**OFF, key: {"prob": prob}}, images.info)
    count = 1000 if 0 < prob < 1 else 100
    happened = 0
    for draw in range(count):
        shown = denormalised(view(image, draw))
        if not torch.allclose(shown, plain, atol=1e-5):
            assert torch.allclose(shown, operation(plain), atol=1e-5)
            happened += 1
    assert happened / count == pytest.approx(prob, abs=4 * (prob * (1 - prob) / count) ** 0.5)


def test_grayscale_makes_channels_equal(noise: MakeNoise) -> None:
    images = noise()
    view = build_view({**OFF, "grayscale": {"prob": 1}}, images.info)(images[0][0])
    assert torch.equal(view[0], view[1]) and torch.equal(view[1], view[2])


def test_colour_operations_are_left_out_for_grey_images(noise: MakeNoise) -> None:
    images = noise(channels=1)
    jitter = {"prob": 1.0, "saturation": 0.9, "hue": 0.4}
    view = build_view({**OFF, "color_jitter": jitter, "grayscale": {"prob": 1}}, images.info)
    torch.testing.assert_close(denormalised(view(images[0][0])), images[0][0] / 255)


def test_views_are_a_function_of_the_seed(noise: MakeNoise, simclr: Pipeline) -> None:
    images = noise()
    views = Views([simclr()], images.info)
    image = images[0][0]
    first, again, other = (all_views(views, image, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


def test_asymmetric_pipelines_keep_their_order(noise: MakeNoise) -> None:
    images = noise()
    pipelines = [{**OFF, "num_crops": 1}, {**OFF, "solarization": {"prob": 1.0}}]
    plain, solarized = map(denormalised, all_views(Views(pipelines, images.info), images[0][0]))
    assert plain.max() > 0.9 and solarized.max() <= 0.5


def test_multicrop_puts_large_crops_first(noise: MakeNoise, simclr: Pipeline) -> None:
    images = noise(size=16)
    sizes = [(16, 1), (6, 3), (16, 1), (4, 2)]
    views = Views([simclr(crop_size=s, num_crops=n) for s, n in sizes], images.info)
    assert (views.num_large, views.num_small) == (2, 5)
    assert [view.shape[-1] for view in all_views(views, images[0][0])] == [16, 16, 6, 6, 6, 4, 4]


def test_mean_and_std_of_the_pipeline_win(noise: MakeNoise) -> None:
    images = noise()
    view = build_view({**OFF, "mean": [0.0], "std": [1.0]}, images.info)
    torch.testing.assert_close(view(images[0][0]), images[0][0] / 255)


def test_reads_a_typed_config_node(noise: MakeNoise) -> None:
    node = OmegaConf.structured(AugmentationConfig(crop_size=8))
    assert build_view(node, noise().info)(noise()[0][0]).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"gaussian_blurr": {"prob": 1}}, "gaussian_blurr: .* Did you mean 'gaussian_blur'"),
        ({"rrc": {"min_scale": 0.1}}, "rrc.min_scale: .* Did you mean 'rrc.crop_min_scale'"),
        ({"horizontal_flip": {"prob": 1.5}}, r"horizontal_flip.prob must be in \[0, 1\], got 1.5"),
        ({"grayscale": {"prob": "often"}}, "grayscale.prob: .*often"),
        ({"color_jitter": {"hue": 0.7}}, r"color_jitter.hue must be in \[0, 0.5\], got 0.7"),
        ({"color_jitter": {"contrast": -1}}, r"color_jitter.contrast must be in \[0, 10\]"),
        (
            {"rrc": {"crop_min_scale": 0.9, "crop_max_scale": 0.5}},
            "crop_min_scale must not exceed crop_max_scale, got 0.9 > 0.5",
        ),
        ({"rrc": {"crop_min_scale": 0.0}}, r"rrc.crop_min_scale must be in \(0, 1\], got 0.0"),
        ({"crop_size": 0}, "crop_size must be from 2 to 4096, got 0"),
        ({"num_crops": 0}, "num_crops must be from 1 to 64, got 0"),
        (
            {"color_jitter": {"brightness": float("nan")}},
            r"brightness must be in \[0, 10\], got nan",
        ),
    ],
)
def test_wrong_values_are_refused(simclr: Pipeline, change: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=error):
        read_pipeline(simclr(**change))


def test_a_pipeline_needs_its_crop_size(noise: MakeNoise) -> None:
    with pytest.raises(UserError, match=r"augmentations\.crop_size: "):
        read_pipeline({"num_crops": 2})
    with pytest.raises(UserError, match="augmentations is empty"):
        Views([], noise().info)


def test_evaluation_resizes_images_of_one_size(noise: MakeNoise) -> None:
    images = noise()
    batch = EvalTransform(images.info, 16)(images.images)
    assert batch.shape == (40, 3, 16, 16)
    one = EvalTransform(images.info, 16)(images[5][0])
    torch.testing.assert_close(one, batch[5])
    same = EvalTransform(images.info, 8)(images.images)
    torch.testing.assert_close(denormalised(same), images.images / 255)


def test_evaluation_keeps_the_center_of_varying_images(noise: MakeNoise) -> None:
    info = replace(noise().info, image_size=None)
    image = torch.zeros(3, 256, 300, dtype=torch.uint8)
    image[:, 16:240, 38:262] = 255
    shown = EvalTransform(info, 224)(image)
    assert shown.shape == (3, 224, 224) and denormalised(shown).eq(1).all()


@pytest.mark.parametrize("caller", ["autocast", "float64", "bfloat16"])
def test_the_callers_precision_changes_no_pixel(
    noise: MakeNoise, simclr: Pipeline, caller: str
) -> None:
    """A loader without workers runs in the process that trains, and telemetry within its step."""
    images = noise(channels=3, size=16, count=40)
    pipeline = simclr(crop_size=8) | {"gaussian_blur": {"prob": 0.5}}

    def show() -> list[Tensor]:
        ops._constants.cache_clear()
        views, transform = Views([pipeline], images.info), EvalTransform(images.info, 8)
        drawn = views.draw(0, 0, list(range(40)), [(16, 16)] * 40)
        one = [view for row in views(list(images.images), drawn) for view in row]
        batches = [batch.show(views.views[0], images.images, drawn[0])]
        return [*one, *batches, transform(images.images)]

    expected = show()
    dtype = torch.float32 if caller == "autocast" else getattr(torch, caller)
    torch.set_default_dtype(dtype)
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=caller == "autocast"):
            found = show()
            assert torch.get_default_dtype() == dtype
            assert torch.is_autocast_enabled("cpu") is (caller == "autocast")
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, found, expected)) and len(found) == len(expected)
