"""What every loader must hold, whichever carries out the draws."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from solo_registry.data.module import PretrainDataModule
from solo_registry.data.sets import SetInfo, TensorSet, load_set
from solo_registry.errors import UserError
from solo_registry.methods.vicregl import centres

MakeNoise = Callable[..., TensorSet]
Config = Callable[..., Any]
Pipeline = Callable[..., dict[str, Any]]
needs_dali = pytest.mark.skipif(not find_spec("nvidia.dali"), reason="NVIDIA DALI is not installed")
FORMATS = ["image_folder", "on_device", pytest.param("dali", marks=needs_dali)]


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> str:
    """Each `data.format` that this machine has."""
    return str(request.param)


def smooth(images: TensorSet) -> TensorSet:
    """Natural images are smooth; on noise, one step of 1/255 decides about whole values."""
    small = images.images[..., ::4, ::4].float()
    large = torch.nn.functional.interpolate(small, images.images.shape[-2:], mode="bilinear")
    return TensorSet(images.info, large.to(torch.uint8), images.targets)


def data(
    cfg: Any, images: Any, rank: int = 0, world_size: int = 1, crops: bool = False
) -> PretrainDataModule:
    module = PretrainDataModule(cfg, images, None)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world_size, strategy=strategy,
        lightning_module=SimpleNamespace(NEEDS_CROPS=crops),
    )  # fmt: skip
    return module


def epoch(loader: Any, number: int = 0) -> list[Any]:
    loader.sampler.set_epoch(number)
    batches = list(loader)
    assert len(batches) == len(loader)
    return batches


def views_by_index(batches: list[Any]) -> dict[int, list[Tensor]]:
    return {
        index: [view[row].clone() for view in views]
        for indexes, views, _ in batches
        for row, index in enumerate(indexes.tolist())
    }


def test_workers_make_the_batches_that_the_device_makes(noise: MakeNoise, config: Config) -> None:
    alone, shared = (
        epoch(
            data(config(data={"format": "on_device", "num_workers": n}), noise()).train_dataloader()
        )
        for n in (0, 2)
    )
    assert len(alone) == len(shared) > 1
    for (indexes, views, targets), (others, shown, labels) in zip(alone, shared, strict=True):
        assert torch.equal(indexes, others) and torch.equal(targets, labels)
        assert all(map(torch.equal, views, shown))


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2])
def test_an_epoch_visits_each_index_once_on_all_ranks(
    noise: MakeNoise, config: Config, form: str, world_size: int
) -> None:
    cfg = config(data={"format": form, "num_workers": 0})
    for number in range(2):
        seen = []
        for rank in range(world_size):
            loader = data(cfg, noise(count=48), rank, world_size).train_dataloader()
            for indexes, views, targets in epoch(loader, number):
                assert [view.shape for view in views] == [(8, 3, 8, 8)] * 2
                assert views[0].dtype == torch.float32 and indexes.dtype == torch.int64
                assert torch.equal(targets, indexes % 4)
                seen += indexes.tolist()
        assert sorted(seen) == list(range(48))


def test_what_is_left_of_an_epoch_is_dropped(noise: MakeNoise, config: Config, form: str) -> None:
    cfg = config(data={"format": form, "num_workers": 0})
    loader = data(cfg, noise(count=45), 1, 2).train_dataloader()
    assert len(loader) == 2
    for number in range(3):
        batches = epoch(loader, number)
        assert len(views_by_index(batches)) == 16


@pytest.mark.slow
def test_one_seed_gives_the_same_views_and_two_give_others(
    noise: MakeNoise, config: Config, form: str
) -> None:
    def shown(seed: int, number: int) -> dict[int, list[Tensor]]:
        cfg = config(seed=seed, data={"format": form, "num_workers": 0})
        return views_by_index(epoch(data(cfg, noise()).train_dataloader(), number))

    first, again, later, other = shown(1, 0), shown(1, 0), shown(1, 1), shown(2, 0)
    for index, views in first.items():
        assert all(map(torch.equal, views, again[index]))
        assert not torch.equal(views[0], views[1])
        for differs in (later, other):
            assert not torch.equal(views[0], differs[index][0])


def test_views_do_not_depend_on_the_batch(noise: MakeNoise, config: Config, form: str) -> None:
    shown = []
    for batch_size, world_size in ((8, 1), (4, 2), (20, 1)):
        cfg = config(data={"format": form, "num_workers": 0}, optimizer={"batch_size": batch_size})
        loader = data(cfg, noise(), 0, world_size).train_dataloader()
        shown.append(views_by_index(epoch(loader)))
    for index in shown[1]:
        for views in zip(*(each[index] for each in shown), strict=True):
            for view in views[1:]:
                torch.testing.assert_close(view, views[0], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("multicrop", [False, True])
def test_every_loader_shows_the_same_views(
    noise: MakeNoise, config: Config, simclr: Pipeline, form: str, channels: int, multicrop: bool
) -> None:
    images = smooth(noise(channels=channels, size=24))
    # what DALI only comes near to is tested in test_dali.py: hue, and colours out of range
    jitter = {"prob": 0.8, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    size = {"crop_size": 24, "color_jitter": jitter}
    size |= {"equalization": {"prob": 0}, "solarization": {"prob": 0}}
    pipelines = [simclr(**size, num_crops=1), simclr(**size | {"solarization": {"prob": 0.5}})]
    if multicrop:
        pipelines.append(simclr(**size | {"crop_size": 12, "num_crops": 3}))
    shown = [
        views_by_index(
            epoch(
                data(
                    config(augmentations=pipelines, data={"format": each, "num_workers": 0}), images
                ).train_dataloader()
            )
        )
        for each in ("image_folder", form)
    ]
    steps = torch.stack(
        [
            (one - other).abs().mean() * 0.25 * 255
            for index in shown[0]
            for one, other in zip(shown[0][index], shown[1][index], strict=True)
        ]
    )
    assert len(steps) == 40 * (6 if multicrop else 3)
    assert steps.median() < 0.5 and steps.quantile(0.9) < 3


@pytest.mark.parametrize(("equalized", "mean", "largest"), [(0.0, 0.01, 6), (0.5, 0.2, 256)])
def test_on_device_shows_photographs_but_for_rounding(
    config: Config, simclr: Pipeline, equalized: float, mean: float, largest: float
) -> None:
    """The figures that docs/data.md gives, with room; equalization makes large steps of small."""
    photos = np.stack([image[:384, :608] for image in load_sample_images().images])
    tiles = torch.from_numpy(photos).unfold(1, 32, 32).unfold(2, 32, 32).flatten(0, 2)[::4]
    info = SetInfo("photographs", 1, 3, 32, (0.5,) * 3, (0.25,) * 3, ("photograph",))
    images = TensorSet(info, tiles.contiguous(), torch.zeros(len(tiles)))
    change = {"crop_size": 32, "num_crops": 2, "equalization": {"prob": equalized}}
    cfg = {"augmentations": [simclr(**change)], "optimizer": {"batch_size": len(images)}}
    shown = [
        views_by_index(
            epoch(
                data(config(**cfg, data={"format": each, "num_workers": 0}), images)
                .train_dataloader()
            )
        )
        for each in ("image_folder", "on_device")
    ]  # fmt: skip
    steps = torch.stack(
        [
            (one - other).abs() * 0.25 * 255
            for index in shown[0]
            for one, other in zip(shown[0][index], shown[1][index], strict=True)
        ]
    )
    assert steps.mean() < mean and steps.max() < largest


def places(height: int, width: int) -> Tensor:
    """An image of which each pixel says its row (in red), its column (green) and nothing (blue)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((rows, columns, torch.zeros_like(rows))).to(torch.uint8)


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_say_what_the_views_show(
    tmp_path: Path, config: Config, form: str, workers: int
) -> None:
    if form == "on_device":  # has no files
        sizes = [(240, 240)] * 4
        info = SetInfo("places", 1, 3, 240, (0.5,) * 3, (0.25,) * 3, ("a",))
        images: Any = TensorSet(info, torch.stack([places(240, 240)] * 4), torch.zeros(4))
    else:
        sizes = [(200, 120), (90, 240), (160, 160), (250, 70)]
        for number, size in enumerate(sizes):
            path = tmp_path / str(number) / "image.png"
            path.parent.mkdir()
            Image.fromarray(places(*size).permute(1, 2, 0).numpy()).save(path)
        images = load_set(SimpleNamespace(dataset="custom", train_path=str(tmp_path)), "train")
    cut = {"crop_size": 35, "num_crops": 2, "rrc": {"crop_min_scale": 0.1, "crop_max_scale": 1.0},
           "horizontal_flip": {"prob": 0.5}}  # fmt: skip
    off = ("color_jitter", "grayscale", "gaussian_blur", "solarization", "equalization")
    cfg = config(
        augmentations=[cut | {"mean": [0.0] * 3, "std": [1.0] * 3} | {k: {"prob": 0} for k in off}],
        data={"format": form, "num_workers": workers}, optimizer={"batch_size": 2},
    )  # fmt: skip
    module = data(cfg, images, crops=True)
    flips = set()
    for number in range(4):
        for indexes, views, _, crops in epoch(module.train_dataloader(), number):
            assert crops.shape == (2, 2, 5) and crops.dtype == torch.int64
            expected = module.views.draw(0, number, indexes, [sizes[i] for i in indexes])
            for view in range(2):
                assert crops[:, view, :4].tolist() == expected[view].box.tolist()
                flips |= set(crops[:, view, 4].tolist())
                shown = 255 * torch.nn.functional.adaptive_avg_pool2d(views[view], 7)
                seen = shown[:, :2].flatten(2).mT + 0.5  # a pixel's center, from the edge
                assert (seen - centres(crops[:, view], 7)).abs().max() < 1.5
    assert flips == {0, 1}
    assert all(len(batch) == 3 for batch in epoch(data(cfg, images).train_dataloader()))


def test_on_device_needs_a_set_in_memory(folder: Path, config: Config) -> None:
    images = load_set(SimpleNamespace(dataset="custom", train_path=str(folder)), "train")
    cfg = config(data={"format": "on_device", "num_workers": 0}, optimizer={"batch_size": 2})
    with pytest.raises(UserError, match="needs a set in memory, and 'custom' is read from files"):
        data(cfg, images)


def test_copies_are_one_image_under_several_indexes_with_draws_of_their_own(
    form: str, noise: MakeNoise, config: Config
) -> None:
    images, plain = smooth(noise(count=12, size=16)), {"dataset": "digits", "num_workers": 0}
    made = {
        copies: data(config(data=plain | {"format": form, "copies": copies}), images)
        for copies in (1, 3)
    }
    once, thrice = (views_by_index(epoch(made[n].train_dataloader())) for n in (1, 3))
    batches = epoch(made[3].train_dataloader())
    assert len(batches) == 3 * 12 // 8 and len(made[3].train_set) == 12
    for indexes, _, targets in batches:
        assert torch.equal(targets, indexes % 12 % 4)
    for index, (first, second) in once.items():  # an index has the draws of its own
        if index in thrice:
            torch.testing.assert_close([first, second], thrice[index])
    assert set(thrice) - set(range(12))
    for copy in set(thrice) - set(range(12)):
        original = thrice.get(copy % 12)
        assert original is None or not torch.equal(original[0], thrice[copy][0])
        assert torch.equal(made[3].pretrain_set[copy][0], images[copy % 12][0])
