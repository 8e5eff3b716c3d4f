"""What is drawn, against what the config asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import RandomResizedCrop

from solo_registry.data.draws import (
    BRIGHTNESS,
    COLUMNS,
    CONTRAST,
    HUE,
    SATURATION,
    Draws,
    center_boxes,
    draw_pipeline,
    plain,
)
from solo_registry.data.hashing import uniforms
from solo_registry.data.pipeline import read_pipeline

Pipeline = Callable[..., dict[str, Any]]
COUNT = 4000


def drawn(pipeline: dict[str, Any], channels: int = 3, size: tuple[int, int] = (60, 80)) -> Draws:
    shares = uniforms(1, range(COUNT), COLUMNS)
    return draw_pipeline(read_pipeline(pipeline), channels, np.tile(size, (COUNT, 1)), shares)


def test_boxes_have_the_asked_areas_and_aspects(simclr: Pipeline) -> None:
    rrc = {"crop_min_scale": 0.2, "crop_max_scale": 0.6}
    top, left, height, width = drawn(simclr(rrc=rrc)).box.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 60).all() and (left + width <= 80).all()
    area, aspect = height * width / 4800, width / height
    assert 0.18 < area.min() < 0.21 and 0.59 < area.max() < 0.63
    assert area.mean() == pytest.approx(0.4, abs=0.01)
    assert 0.7 < aspect.min() < 0.78 and 1.28 < aspect.max() < 1.4
    assert np.log(aspect).mean() == pytest.approx(0, abs=0.015)
    free = (left / (80 - width))[width < 80]
    assert free.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("size", [(4, 400), (200, 600), (601, 200), (30, 31), (9, 10), (7, 5)])
def test_where_no_box_fits_torchvisions_center_is_taken(
    simclr: Pipeline, size: tuple[int, int]
) -> None:
    pipeline = read_pipeline(simclr())
    pipeline.rrc.crop_min_scale = pipeline.rrc.crop_max_scale = 1.2  # larger than the image
    boxes = draw_pipeline(pipeline, 3, np.tile(size, (3, 1)), uniforms(1, range(3), COLUMNS)).box
    theirs = RandomResizedCrop(8, scale=(1.2, 1.2)).make_params([torch.zeros(3, *size)])
    assert (boxes == [theirs[side] for side in ("top", "left", "height", "width")]).all()


@pytest.mark.slow
def test_boxes_of_long_images_are_torchvisions(simclr: Pipeline) -> None:
    """600 x 200: half of the boxes do not fit, and none of those beyond a third of the area."""
    for scale in ((0.08, 1.0), (0.5, 1.0)):
        rrc = {"crop_min_scale": scale[0], "crop_max_scale": scale[1]}
        ours = drawn(simclr(rrc=rrc), size=(200, 600)).box[:, 2:]
        crop, image = RandomResizedCrop(8, scale=scale), torch.zeros(3, 200, 600)
        chosen = [crop.make_params([image]) for _ in range(COUNT)]
        theirs = np.array([(one["height"], one["width"]) for one in chosen])
        area, expected = (sides.prod(axis=1) / 120_000 for sides in (ours, theirs))
        assert area.mean() == pytest.approx(expected.mean(), abs=0.01)
        assert area.max() == pytest.approx(expected.max(), abs=0.01)
        assert np.log(ours[:, 1] / ours[:, 0]).mean() == pytest.approx(
            np.log(theirs[:, 1] / theirs[:, 0]).mean(), abs=0.02
        )


def test_without_crop_the_center_is_taken(simclr: Pipeline) -> None:
    assert (drawn(simclr(rrc={"enabled": False})).box == [0, 10, 60, 60]).all()
    assert center_boxes(np.array([[256, 300]]), 224 / 256).tolist() == [[16, 38, 224, 224]]


def test_chances_factors_and_orders(simclr: Pipeline) -> None:
    one = drawn(simclr())
    chances = {"jitter": 0.8, "gray": 0.2, "blur": 0.5, "solarize": 0.2, "equalize": 0.2}
    for name, chance in (chances | {"flip": 0.5}).items():
        tolerance = 4 * (chance * (1 - chance) / COUNT) ** 0.5
        assert getattr(one, name).mean() == pytest.approx(chance, abs=tolerance), name
    jittered = one.factors[one.jitter]
    for kind, low, high in (
        (BRIGHTNESS, 0.2, 1.8),
        (CONTRAST, 0.2, 1.8),
        (SATURATION, 0.2, 1.8),
        (HUE, -0.2, 0.2),
    ):
        assert low <= jittered[:, kind].min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < jittered[:, kind].max() <= high
    assert (one.factors[~one.jitter] == [1, 1, 1, 0]).all()
    assert 0.1 <= one.sigma.min() < 0.11 and 1.99 < one.sigma.max() <= 2.0
    orders, counts = np.unique(one.order, axis=0, return_counts=True)
    assert len(orders) == 24 and np.abs(counts - COUNT / 24).max() < 5 * (COUNT / 24) ** 0.5


def test_draws_of_different_things_are_unrelated(simclr: Pipeline) -> None:
    one = drawn(simclr())
    names = ("jitter", "gray", "blur", "solarize", "equalize", "flip", "sigma")
    columns = [getattr(one, name) for name in names] + list(one.box.T[:2])
    related = np.corrcoef(np.array(columns, float)) - np.eye(len(columns))
    related[-2:, -2:] = 0  # a box far down can be far right only if it is small
    assert np.abs(related).max() < 5 / COUNT**0.5


def test_grey_images_have_no_colour_to_change(simclr: Pipeline) -> None:
    one = drawn(simclr(), channels=1)
    assert not one.gray.any() and set(one.order.ravel().tolist()) == {BRIGHTNESS, CONTRAST}
    assert (one.factors[:, [SATURATION, HUE]] == [1, 0]).all()


def test_jitters_of_no_strength_are_left_out(simclr: Pipeline) -> None:
    one = drawn(simclr(color_jitter={"prob": 1.0, "hue": 0.1}))
    assert (one.order == HUE).all() and one.order.shape == (COUNT, 1)
    assert not drawn(simclr(color_jitter={"prob": 1.0})).jitter.any()


def test_plain_changes_nothing() -> None:
    (one,) = plain(np.array([[0, 1, 2, 3]]))
    assert one.box == [0, 1, 2, 3] and one.factors == [1, 1, 1, 0] and one.order == []
    assert not any((one.jitter, one.gray, one.blur, one.solarize, one.equalize, one.flip))
