"""Views that a GPU makes, against those of the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from solo_registry.data.augment import View
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sets import TensorSet, load_set
from solo_registry.data.show import show

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
WITH_DALI = pytest.mark.skipif(
    not importlib.util.find_spec("nvidia") or not importlib.util.find_spec("nvidia.dali"),
    reason="NVIDIA DALI is not installed",
)
CROP = {"rrc": {"enabled": True, "crop_min_scale": 0.3}, "crop_size": 24}
STEPS: dict[str, dict[str, Any]] = {
    "crop": {},
    "jitter": {"color_jitter": {"prob": 0.8, "brightness": 0.4, "contrast": 0.4, "hue": 0.1}},
    "grayscale": {"grayscale": {"prob": 0.5}},
    "blur": {"gaussian_blur": {"prob": 0.5}},
    "solarization": {"solarization": {"prob": 0.5}},
    "equalization": {"equalization": {"prob": 0.5}},
    "flip": {"horizontal_flip": {"prob": 0.5}},
}


def both(noise: Callable[..., TensorSet], name: str, make: Any) -> tuple[Tensor, Tensor]:
    """Return the views of 32 images by both devices, in steps of 1/255."""
    images = noise(count=32, size=32)
    view = View(read_pipeline(CROP | STEPS[name]), images.info)
    drawn = view.draw(1, list(range(32)), [(32, 32)] * 32)
    found = [make(images, view, drawn, torch.device(device)).cpu() for device in ("cpu", "cuda")]
    return tuple(255 * 0.25 * x for x in found)  # type: ignore[return-value]


@pytest.mark.parametrize("name", STEPS)
def test_on_device(noise: Callable[..., TensorSet], name: str) -> None:
    def make(images: Any, view: View, drawn: Any, device: torch.device) -> Tensor:
        return show(view, images.images.to(device), drawn)

    ours, theirs = both(noise, name, make)
    assert (ours - theirs).abs().mean() < 0.05


@WITH_DALI
@pytest.mark.parametrize("name", STEPS)
def test_dali_from_memory(noise: Callable[..., TensorSet], name: str) -> None:
    from solo_registry.data.dali import DaliViews

    def make(images: Any, view: View, drawn: Any, device: torch.device) -> Tensor:
        dali = DaliViews(images, [view], len(images), 1, device)
        ((_, (X,), _),) = dali.make([(0, list(range(len(images))))], lambda *_: [drawn])
        return X

    ours, theirs = both(noise, name, make)
    assert (ours - theirs).abs().mean() < 1


@WITH_DALI
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_dali_from_files(config: Callable[..., Any], tmp_path: Path, suffix: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(8):
        pixels = torch.randint(256, (6, 8, 3), generator=generator, dtype=torch.uint8).numpy()
        path = tmp_path / "ab"[number % 2] / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((64, 48)).save(path)
    batches = []
    for device in ("cpu", "cuda"):
        cfg = config(
            data={"dataset": "custom", "format": "dali", "train_path": str(tmp_path),
                  "num_workers": 1},
            optimizer={"batch_size": 4}, augmentations=[CROP | {"num_crops": 2}],
            dali={"device": "gpu" if device == "cuda" else "cpu"},
        )  # fmt: skip
        train = load_set(cfg.data, "train")
        assert train is not None
        data = PretrainDataModule(cfg, train, None)
        strategy = SimpleNamespace(root_device=torch.device(device))
        data.trainer = SimpleNamespace(  # type: ignore[assignment]
            global_rank=0, world_size=1, strategy=strategy
        )
        batches.append(list(data.train_dataloader()))
    for (ours, X, _), (theirs, Z, _) in zip(*batches, strict=True):
        assert torch.equal(ours, theirs)
        for one, other in zip(X, Z, strict=True):
            assert other.is_cuda and (one - other.cpu()).abs().mean() * 255 * 0.225 < 3
