from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_registry.catalog.registry import DATASETS
from solo_registry.config.index_file import index_hash
from solo_registry.data.sets import SetInfo, TensorSet, hold_out, load_set, to_channels
from solo_registry.data.subset import stratified
from solo_registry.errors import UserError

MakeNoise = Callable[..., TensorSet]


def load(**data: Any) -> TensorSet:
    images = load_set(SimpleNamespace(dataset="digits", **data), "train")
    assert isinstance(images, TensorSet)
    return images


def test_unknown_set_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown data set 'digit'. Did you mean 'digits'\?"):
        load_set(OmegaConf.create({"dataset": "digit"}), "train")


def test_reads_a_struct_config_with_absent_keys() -> None:
    data = OmegaConf.create({"dataset": "digits"})
    OmegaConf.set_struct(data, True)
    assert load_set(data, "train") is not None


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(UserError, match=r"data.fraction must be in \(0, 1\], or -1 \(all images\)"):
        load(fraction=fraction)


def test_fraction_keeps_a_share_of_each_class_and_the_same_images() -> None:
    whole, part = load(fraction=-1), load(fraction=0.25)
    before, after = whole.targets.bincount(), part.targets.bincount()
    assert (after - 0.25 * before).abs().max() <= 0.5
    assert torch.equal(part.images, load(fraction=0.25).images)
    assert len(load(fraction=1)) == len(whole)


def test_fraction_leaves_validation_whole() -> None:
    sizes = {
        len(load_set(SimpleNamespace(dataset="digits", fraction=f), "val") or []) for f in (0.1, -1)
    }
    assert sizes == {360}


def test_stratified_keeps_one_of_a_rare_class_and_counts_unlabelled_as_one() -> None:
    targets = torch.tensor([-1] * 50 + [0] * 50 + [1])
    kept = targets[stratified(targets, 0.1)]
    assert kept.tolist() == [-1] * 5 + [0] * 5 + [1]


@pytest.mark.parametrize(
    ("fraction", "seed", "expected"),
    [
        (0.1, 0, "066290dfe18382f7"), (0.2, 0, "9a1c7d0d329da014"),
        (0.5, 0, "7b792932af817faa"), (0.2, 7, "7975f95738481041"),
    ],
)  # fmt: skip
def test_a_share_is_the_one_that_published_numbers_had(
    fraction: float, seed: int, expected: str
) -> None:
    targets = torch.arange(10).repeat(100)
    assert index_hash(stratified(targets, fraction, seed)) == expected
    assert index_hash(stratified(targets, fraction, seed, leave=1)) == expected


def test_the_images_held_out_are_those_of_published_numbers() -> None:
    kept, held = hold_out(load(), 0.2)
    assert index_hash(kept.indices or []) == "4026bc307cc04cb9"
    assert index_hash(held.indices or []) == "d3fc6443acc543ac"


def classes_of(sizes: list[int]) -> TensorSet:
    targets = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    info = SetInfo("mine", len(sizes), 1, 2, (0.5,), (0.5,), tuple("abcde"[: len(sizes)]))
    return TensorSet(info, torch.zeros(len(targets), 1, 2, 2, dtype=torch.uint8), targets)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.85])
def test_training_keeps_an_image_of_each_class(fraction: float) -> None:
    images = classes_of([1, 2, 3, 10, 1])
    kept, held = hold_out(images, fraction)
    assert (kept.targets.bincount(minlength=5) >= 1).all()
    assert held.targets.bincount(minlength=5).tolist()[0::4] == [0, 0] and len(held)
    assert sorted((kept.indices or []) + (held.indices or [])) == list(range(len(images)))


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"validation_fraction=0\.2 can hold no image out: each"):
        hold_out(classes_of([1, 1, 1]), 0.2)
    with pytest.raises(UserError, match=r"validation_fraction=0\.999999 of 1437 images leaves"):
        hold_out(load(), 0.999999)


def test_subset_keeps_order_and_labels(noise: MakeNoise) -> None:
    images = noise()
    part = images.subset([7, 2])
    assert part[0][1] == 3 and torch.equal(part[1][0], images[2][0])


def test_grey_to_rgb_and_back(noise: MakeNoise) -> None:
    grey = noise(channels=1)
    colour = to_channels(grey, 3)
    assert colour[0][0].shape == (3, 8, 8)
    assert colour.info.channels == len(colour.info.mean) == 3
    again = to_channels(colour, 1)
    assert torch.equal(again.images, grey.images)
    assert again.info.mean == pytest.approx(grey.info.mean)
    assert to_channels(grey, 1) is grey


def test_channels_apply_to_every_set_in_memory() -> None:
    assert load(channels=3)[0][0].shape == (3, 8, 8)
    with pytest.raises(UserError, match=r"data.channels is 2. Allowed: 1, 3, null"):
        load(channels=2)


def test_keys_of_other_sets_are_refused() -> None:
    for key, value in (("train_split", "train"), ("class_list", "x.txt"), ("format", "h5")):
        with pytest.raises(UserError, match=rf"'digits' does not use data\.{key}={value}"):
            load(**{key: value})
    assert len(load(format="on_device")) == len(load())


def test_a_set_says_what_it_would_not_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in ("_entries", "_loaded"):  # forget afterwards
        monkeypatch.setattr(DATASETS, kept, dict(getattr(DATASETS, kept)))
    DATASETS.add_lazy("mine", "solo_registry.data.arrays:digits", unread="class_list download=True")
    load_set(SimpleNamespace(dataset="mine", train_split="train", download=False), "train")
    for key, value in (("class_list", "x.txt"), ("download", True)):
        with pytest.raises(UserError, match=rf"'mine' does not use data\.{key}={value}"):
            load_set(SimpleNamespace(dataset="mine", **{key: value}), "train")


def test_statistics_need_one_number_per_channel(noise: MakeNoise) -> None:
    info = noise().info
    assert info.with_statistics([0.1], [0.2, 0.3, 0.4]).mean == (0.1, 0.1, 0.1)
    with pytest.raises(UserError, match=r"mean=\[0.1, 0.2\] does not suit .* needs 1 number or 3"):
        info.with_statistics(mean=[0.1, 0.2])
    with pytest.raises(UserError, match="above 0"):
        info.with_statistics(std=[0.0])
