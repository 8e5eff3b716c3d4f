import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from omegaconf import OmegaConf
from PIL import ExifTags, Image

import solo_registry.catalog.builtin  # noqa: F401  (registers the data sets)
from solo_registry.data.sampling import one_thread
from solo_registry.data.sets import SetInfo, TensorSet

SIMCLR: dict[str, Any] = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.2},
    "equalization": {"prob": 0.2},
    "horizontal_flip": {"prob": 0.5},
    "crop_size": 8,
    "num_crops": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def thread() -> Iterator[None]:
    """Tests on small images are slow on several threads, above all where others work too."""
    with one_thread():
        yield


@pytest.fixture
def noise() -> Callable[..., TensorSet]:
    """Makes random images with 4 classes in turn."""

    def make(count: int = 40, channels: int = 3, size: int = 8) -> TensorSet:
        generator = torch.Generator().manual_seed(1)
        shape = (count, channels, size, size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        half, quarter = (0.5,) * channels, (0.25,) * channels
        info = SetInfo("noise", 4, channels, size, half, quarter, tuple("abcd"))
        return TensorSet(info, pixels, torch.arange(count) % 4)

    return make


@pytest.fixture
def config() -> Callable[..., Any]:
    """Makes what the data module reads: SimCLR's augmentation, with overrides such as `seed=3`."""

    def make(**changes: Any) -> Any:
        keys = {
            "seed": 0,
            "augmentations": [SIMCLR],
            "optimizer": {"batch_size": 8},
            "data": {"dataset": "digits", "num_workers": 0},
        }
        return OmegaConf.create(keys | changes)

    return make


@pytest.fixture
def simclr() -> Callable[..., dict[str, Any]]:
    """Makes SimCLR's pipeline with every operation switched on, at 8 pixels, with overrides."""
    return lambda **changes: SIMCLR | changes


@pytest.fixture
def save_noise() -> Callable[..., Path]:
    """Writes a random image in the format that the suffix says."""

    def save(path: Path, width: int = 12, height: int = 10, mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return save


@pytest.fixture
def folder(tmp_path: Path, save_noise: Callable[..., Path]) -> Path:
    """Two classes of three images each, of several formats and sizes."""
    root = tmp_path / "images"
    for number, name in enumerate(("cat/a.png", "cat/b.jpg", "cat/deep/c.bmp")):
        save_noise(root / name, width=10 + number)
    for number, name in enumerate(("dog/a.png", "dog/b.JPEG", "dog/c.webp")):
        save_noise(root / name, height=12 + number)
    (root / "cat" / "notes.txt").write_text("no image")
    (root / "dog" / "._a.png").write_bytes(b"left behind by macOS")
    return root


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """A smooth picture in colour, 40 wide and 30 high, without any symmetry."""
    colours = np.random.default_rng(0).integers(30, 226, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((40, 30), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def odd_files(picture: Image.Image) -> dict[str, bytes]:
    """One small picture as the files that phones, scanners and programs write, by name."""
    grey = np.asarray(picture.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    palette = picture.quantize()
    glass = picture.convert("RGBA")
    glass.putalpha(Image.fromarray(255 - grey))
    upside_down = picture.transpose(Image.Transpose.ROTATE_180)
    animation = {"save_all": True, "append_images": [upside_down]}
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
    files: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "scan.tif": (deep, "TIFF", {}),
        "scan.png": (deep, "PNG", {}),
        "scan.pgm": (deep, "PPM", {}),
        "scan.jp2": (deep, "JPEG2000", {}),
        "print.jpg": (picture.convert("CMYK"), "JPEG", {}),
        "print.tif": (picture.convert("CMYK"), "TIFF", {}),
        "film.gif": (picture, "GIF", animation),
        "film.webp": (picture, "WEBP", animation),
        "pages.tiff": (picture, "TIFF", animation),
        "phone.JPG": (picture, "MPO", animation),
        "windows.jfif": (picture, "JPEG", {}),
        "old.jpe": (picture, "JPEG", {}),
        "xmp.jpg": (picture, "JPEG", {"xmp": xmp}),
        "glass.png": (glass, "PNG", {}),
        "glass.webp": (glass, "WEBP", {}),
        "glass.tif": (glass, "TIFF", {}),
    }
    # before version 13 Pillow cannot read the YCbCr files that it writes
    latest = ("YCbCr",) if int(PIL.__version__.partition(".")[0]) >= 13 else ()
    for mode in ("1", "L", "LA", "P", "PA", "RGBA", "CMYK", "LAB", *latest):
        form = "TIFF" if mode in ("PA", "CMYK", "YCbCr", "LAB") else "PNG"
        source = {"1": Image.fromarray(grey // 128 * 255), "P": palette, "PA": palette}
        files[f"mode_{mode}.{form.lower()}"] = source.get(mode, picture).convert(mode), form, {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        for suffix, form in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF"), ("webp", "WEBP")):
            files[f"turned_{orientation}.{suffix}"] = picture, form, {"exif": exif}
    contents = {}
    for name, (image, form, options) in files.items():
        with io.BytesIO() as buffer:
            image.save(buffer, form, **options)
            contents[name] = buffer.getvalue()
    return contents
