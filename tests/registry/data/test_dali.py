"""NVIDIA DALI on a CPU: image files, what it only comes near to, and what it cannot read."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from solo_registry.data import pixels
from solo_registry.data.augment import View
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import TensorSet, load_set
from solo_registry.data.show import show
from solo_registry.errors import UserError

MakeNoise = Callable[..., TensorSet]
Config = Callable[..., Any]
Pipeline = Callable[..., dict[str, Any]]


def test_without_dali_one_sentence_has_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, noise: MakeNoise, config: Config
) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setitem(sys.modules, "nvidia.dali.fn", None)
    with pytest.raises(UserError, match=r"pip install 'solo-dyntemp\[dali\]'"):
        PretrainDataModule(config(data={"format": "dali", "num_workers": 0}), noise(), None)


pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

from solo_registry.data.dali import DaliEvalLoader, DaliViews  # noqa: E402


def made(images: Any, pipeline: dict[str, Any], keys: int = 1) -> tuple[Tensor, Tensor]:
    """Views of every image by DALI and by `device`, denormalised to steps of 1/255."""
    view = View(read_pipeline(pipeline), images.info)
    indexes = list(range(len(images)))
    sizes = [images[0][0].shape[-2:]] * len(images)
    drawn = [view.draw(key, indexes, sizes) for key in range(keys)]
    work = [(key, indexes) for key in range(keys)]
    dali = DaliViews(images, [view], len(images), 1, torch.device("cpu"))
    theirs = torch.cat([X for _, (X,), _ in dali.make(work, lambda key, *_: [drawn[key]])])
    ours = torch.cat([show(view, images.images, each) for each in drawn])
    return tuple((x * 0.25 + 0.5) * 255 for x in (theirs, ours))  # type: ignore[return-value]


OFF: dict[str, Any] = {"rrc": {"enabled": False}, "crop_size": 8}


@pytest.mark.parametrize("name", ["solarization", "grayscale", "horizontal_flip"])
def test_each_step_is_that_of_the_other_loaders(noise: MakeNoise, name: str) -> None:
    theirs, ours = made(noise(), OFF | {name: {"prob": 0.5}})
    assert (theirs - ours).abs().max() <= 1.01


def test_equalization_is_nearly_that_of_the_other_loaders_on_large_images(noise: MakeNoise) -> None:
    images = noise(count=4, size=224)
    images.images = images.images.div(2, rounding_mode="floor")
    theirs, ours = made(images, OFF | {"crop_size": 224, "equalization": {"prob": 1.0}})
    assert (theirs - ours).abs().mean() < 2


def test_blur_is_that_of_the_other_loaders(noise: MakeNoise) -> None:
    theirs, ours = made(noise(size=24), OFF | {"crop_size": 24, "gaussian_blur": {"prob": 0.7}})
    assert (theirs - ours).abs().mean() < 0.5 and (theirs - ours).abs().max() < 4


@pytest.mark.parametrize("channels", [1, 3])
def test_jitters_in_their_own_order_are_those_of_the_other_loaders(
    noise: MakeNoise, channels: int
) -> None:
    images = noise(channels=channels)
    # middling values, so that nothing is cut off at 0 or 1
    images.images = images.images.div(4, rounding_mode="floor") + 96
    jitter = {"prob": 0.8, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    pipeline = OFF | {"color_jitter": jitter, "grayscale": {"prob": 0.2}}
    theirs, ours = made(images, pipeline, keys=3)
    assert (theirs - ours).abs().max() <= 1.01


def hue_and_value(x: Tensor) -> tuple[Tensor, Tensor]:
    """Angle of the mean colour around the grey axis, in turns, and its mean brightness."""
    red, green, blue = x.mean((-2, -1)).unbind(-1)
    angle = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue) / (2 * torch.pi)
    return angle, x.mean((1, 2, 3))


def test_hue_and_brightness_are_distributed_as_in_the_other_loaders(noise: MakeNoise) -> None:
    images = noise(count=200)
    images.images[:] = torch.tensor([150, 110, 90], dtype=torch.uint8).view(3, 1, 1)
    jitter = {"prob": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    theirs, ours = made(images, OFF | {"color_jitter": jitter}, keys=5)
    for one, other in zip(hue_and_value(theirs), hue_and_value(ours), strict=True):
        quantiles = torch.linspace(0.05, 0.95, 19)
        spread = other.std()
        difference = (one.quantile(quantiles) - other.quantile(quantiles)).abs().max()
        assert spread > 0.02 and difference < 0.2 * spread


def photos(root: Path, count: int = 12) -> Path:
    """Smooth pictures of several sizes, as JPEG and PNG, in two classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        path = root / "ab"[number % 2] / f"{number}.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((40 + number, 60 - number), Image.Resampling.BICUBIC).save(path)
    return root


def module(config: Config, root: Path, form: str, **data: Any) -> PretrainDataModule:
    where = {"dataset": "custom", "format": form, "train_path": str(root), "num_workers": 0}
    cfg = config(
        data=where | data,
        optimizer={"batch_size": 4},
        augmentations=[{
            "crop_size": 24, "num_crops": 2, "horizontal_flip": {"prob": 0.5},
            "color_jitter": {"prob": 0.8, "brightness": 0.2, "contrast": 0.2},
        }],
    )  # fmt: skip
    train = load_set(cfg.data, "train")
    assert train is not None
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data_module = PretrainDataModule(cfg, train, train)
    data_module.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=0, world_size=1, strategy=strategy
    )
    return data_module


@pytest.mark.parametrize("channels", [1, 3])
def test_files_give_the_views_of_the_other_loader(
    config: Config, tmp_path: Path, channels: int
) -> None:
    photos(tmp_path)
    batches = [
        list(module(config, tmp_path, form, channels=channels).train_dataloader())
        for form in ("image_folder", "dali")
    ]
    assert len(batches[0]) == len(batches[1]) == 3
    for (ours, X, y), (theirs, Z, z) in zip(*batches, strict=True):
        assert torch.equal(ours, theirs) and torch.equal(y, z)
        for one, other in zip(X, Z, strict=True):
            assert (one - other).abs().mean() * 255 * 0.225 < 1.5


def test_validation_shows_what_the_other_loader_shows(config: Config, tmp_path: Path) -> None:
    photos(tmp_path)
    (X, y), (Z, z) = (
        tuple(map(torch.cat, zip(*module(config, tmp_path, form).val_dataloader(), strict=True)))
        for form in ("image_folder", "dali")
    )
    assert X.shape == Z.shape == (12, 3, 24, 24) and torch.equal(y, z)
    assert (X - Z).abs().mean() * 255 * 0.225 < 12  # the cut is up to half a pixel off
    again = module(config, tmp_path, "dali").val_dataloader()
    assert isinstance(again, DaliEvalLoader)
    for _ in range(2):
        assert torch.equal(torch.cat([X for X, _ in again]), Z)


def test_validation_of_a_set_in_memory_is_exact(noise: MakeNoise, config: Config) -> None:
    loader = PretrainDataModule(
        config(data={"format": "dali", "num_workers": 0}), noise(), noise(count=21)
    ).val_dataloader()
    X, y = (torch.cat(part) for part in zip(*loader, strict=True))
    torch.testing.assert_close(X, (noise(count=21).images / 255 - 0.5) / 0.25)
    assert len(loader) == 3 and torch.equal(y, noise(count=21).targets)


def break_inside(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :][:20] = bytes(20)
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(60)
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["text", "broken inside", "gone"])
def test_a_file_that_cannot_be_read_is_named_or_replaced(
    config: Config, tmp_path: Path, how: str
) -> None:
    photos(tmp_path)
    data = [
        module(config, tmp_path, "dali", check_files=False, on_error=on_error)
        for on_error in ("raise", "skip")
    ]
    bad = tmp_path / "b" / "7.png"
    if how == "text":
        bad.write_text("no image")
    elif how == "gone":
        bad.unlink()
    else:
        break_inside(bad)
    with pytest.raises(UserError, match=r"cannot read image .*7\.png.*data.on_error=skip"):
        list(data[0].train_dataloader())
    loader = data[1].train_dataloader()
    with pytest.warns(UserWarning, match=r"cannot read .*7.png .*the next image replaces it"):
        first = list(loader)
    indexes, targets = (torch.cat([batch[part] for batch in first]) for part in (0, 2))
    assert sorted(indexes.tolist()) == list(range(12))
    shown = {int(index): int(target) for index, target in zip(indexes, targets, strict=True)}
    train = data[1].train_set
    (gone,) = train.unreadable  # type: ignore[attr-defined]
    assert shown == {index: train[index][1] for index in range(12)}
    assert shown[gone] == int(train.targets[(gone + 1) % 12])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(loader)) == 3
    assert data[1].train_set.unreadable  # type: ignore[attr-defined]


def with_a_gif(root: Path) -> Path:
    gif = root / "b" / "7.gif"
    with Image.open(root / "b" / "7.png") as image:
        image.convert("L").save(gif)
    (root / "b" / "7.png").unlink()
    return gif


def test_a_file_that_only_pillow_reads_is_named_and_shown(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gif = with_a_gif(photos(tmp_path))
    loaders = [
        (data.train_dataloader(), data.val_dataloader())
        for data in (module(config, tmp_path, form) for form in ("image_folder", "dali"))
    ]
    ours = [list(loader) for loader in loaders[0]]
    # DALI is given the GIF as it is, which it cannot decode
    monkeypatch.setitem(pixels.DALI_READS, "GIF", ("L", "P", "RGB"))
    for number, loader in enumerate(loaders[1]):
        with pytest.warns(UserWarning, match=f"DALI cannot read {gif}; Pillow can") as caught:
            first = list(loader)
        assert len(caught) == 1
        for batch, other in zip(first, ours[number], strict=True):
            assert torch.equal(batch[0], other[0]) if number == 0 else batch[0].ndim == 4
            assert torch.equal(batch[-1], other[-1])
            shown, alike = (each[1] if number == 0 else [each[0]] for each in (batch, other))
            for one, same in zip(shown, alike, strict=True):
                assert (one - same).abs().mean() * 255 * 0.225 < (1.5 if number == 0 else 12)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(list(loader)) == len(first)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_validation_names_or_replaces_what_cannot_be_read(
    config: Config, tmp_path: Path, on_error: str
) -> None:
    photos(tmp_path)
    data = module(config, tmp_path, "dali", check_files=False, on_error=on_error)
    break_inside(tmp_path / "b" / "7.png")
    if on_error == "raise":
        with pytest.raises(UserError, match=r"cannot read image .*7\.png.*data.on_error=skip"):
            list(data.val_dataloader())
        return
    with pytest.warns(UserWarning, match=r"cannot read .*7\.png"):
        y = torch.cat([y for _, y in data.val_dataloader()])
    (gone,) = data.train_set.unreadable  # type: ignore[attr-defined]
    expected = data.train_set.targets.clone()
    expected[gone] = expected[(gone + 1) % 12]
    assert torch.equal(y, expected)


def test_no_image_that_can_be_read(config: Config, tmp_path: Path) -> None:
    photos(tmp_path)
    data = module(config, tmp_path, "dali", check_files=False, on_error="skip")
    for path in tmp_path.rglob("*.*"):
        path.write_bytes(b"no image")
    with (
        pytest.warns(UserWarning, match="the next image replaces it"),
        pytest.raises(UserError, match=r"no image in .* can be read"),
    ):
        list(data.train_dataloader())


def test_an_epoch_given_up_leaves_the_next_one_whole(noise: MakeNoise, config: Config) -> None:
    data = PretrainDataModule(config(data={"format": "dali", "num_workers": 0}), noise(), None)
    loader = data.train_dataloader()
    whole = [indexes.tolist() for indexes, _, _ in loader]
    next(iter(loader))
    assert [indexes.tolist() for indexes, _, _ in loader] == whole


def test_a_gpu_that_is_not_there(noise: MakeNoise, config: Config) -> None:
    cfg = config(data={"format": "dali", "num_workers": 0}, dali={"device": "gpu"})
    with pytest.raises(UserError, match=r"dali\.device=gpu, but the run is on cpu"):
        PretrainDataModule(cfg, noise(), None).train_dataloader()
