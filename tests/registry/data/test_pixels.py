"""What becomes of the pixels of every kind of image file, on their own and by each loader."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms
from torch import Tensor

from solo_registry.data.folder import FolderSet
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.pixels import FORMATS, SUFFIXES, TURNS, decode, defect, for_dali
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError

Config = Callable[..., Any]
Odd = dict[str, bytes]


def saved(image: Image.Image, form: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    return file


def as_tensor(image: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return (one.float() - other.float()).abs().mean().item()


def test_the_formats_that_people_have_are_read() -> None:
    assert {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"} <= set(FORMATS)
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".gif"} <= SUFFIXES
    assert not SUFFIXES & {".pdf", ".eps", ".h5", ".mpg", ".psd"}


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_upper_eight(channels: int) -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], dtype=np.uint16)
    for form in ("PNG", "TIFF", "PPM"):
        pixels = decode(saved(Image.fromarray(deep), form), channels)
        assert pixels.tolist() == [[[0, 0, 1], [128, 255, 255]]] * channels


def tiff(values: np.ndarray[Any, Any], bits: int, *, white_is_0: bool, form: int = 1) -> io.BytesIO:
    """An uncompressed little-endian TIFF of one channel; form 1 is unsigned, 2 signed, 3 float."""
    content = values.tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 0 if white_is_0 else 1, 273: 8,
            277: 1, 278: height, 279: len(content), 339: form}  # fmt: skip
    rows = b"".join(
        tag.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in tags.items()
    )
    count = len(tags).to_bytes(2, "little")
    start = (8 + len(content)).to_bytes(4, "little")
    return io.BytesIO(b"II*\0" + start + content + count + rows + bytes(4))


def test_white_may_be_0_with_eight_and_with_sixteen_bits() -> None:
    for bits in (8, 16):
        values = np.array([[0, 1, 2], [3, 4, 5]], f"<u{bits // 8}") * (50 << (bits - 8))
        for white_is_0 in (False, True):
            pixels = decode(tiff(values, bits, white_is_0=white_is_0), 1)
            expected = torch.arange(6).view(1, 2, 3) * 50
            assert torch.equal(pixels, 255 - expected if white_is_0 else expected)


def test_twelve_bits_keep_their_upper_eight() -> None:
    packed = np.array(
        [[0x12, 0x3F, 0xFF], [0x00, 0x08, 0x00]], np.uint8
    )  # 0x123 0xFFF, 0x000 0x800
    content = tiff(packed, 12, white_is_0=False).getvalue()
    width = (256).to_bytes(2, "little") + b"\4\0\1\0\0\0"
    narrow = content.replace(width + b"\3\0\0\0", width + b"\2\0\0\0")
    assert decode(io.BytesIO(narrow), 1).tolist() == [[[0x12, 0xFF], [0x00, 0x80]]]


@pytest.mark.parametrize(
    ("dtype", "form", "what"),
    [
        ("<f4", 3, "floats"), ("<i4", 2, "signed or 32-bit integers"),
        ("<u4", 1, "signed or 32-bit integers"), ("<i2", 2, "signed or 32-bit integers"),
    ],
)  # fmt: skip
def test_values_without_a_known_white_are_refused(dtype: str, form: int, what: str) -> None:
    values = np.arange(12).reshape(3, 4).astype(dtype)
    file = tiff(values, 8 * values.itemsize, white_is_0=False, form=form)
    reason = defect(file)
    assert reason is not None and f"its pixels are {what}" in reason and "8 or 16 bits" in reason
    with pytest.raises(ValueError, match=f"its pixels are {what}"):
        decode(file, 3)
    with pytest.raises(ValueError, match=f"its pixels are {what}"):
        for_dali(file.getvalue())


def test_floats_are_refused_by_name_before_training(tmp_path: Path, config: Config) -> None:
    cell = tmp_path / "a" / "cell.tif"
    cell.parent.mkdir()
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(cell)
    data = {"dataset": "custom", "train_path": str(tmp_path), "no_labels": True}
    for form in ("image_folder", "dali"):
        with pytest.raises(UserError, match=r"cannot read image .*cell\.tif: its pixels are float"):
            load_set(config(data=data | {"format": form}).data, "train")
    images = load_set(config(data=data | {"check_files": False}).data, "train")
    with pytest.raises(UserError, match=r"cannot read image .*cell\.tif: its pixels are float"):
        images[0]  # type: ignore[index]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_a_person_sees_them(
    picture: Image.Image, form: str, orientation: int
) -> None:
    if form not in FORMATS:
        pytest.skip(f"this Pillow reads no {form}")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    pixels = decode(saved(picture, form, exif=exif, **{"quality": 95} if form == "AVIF" else {}), 3)
    turn = TURNS.get(orientation)
    upright = as_tensor(picture if turn is None else picture.transpose(turn))
    assert difference(pixels, upright) < 4


def test_orientation_6_is_a_quarter_turn_clockwise() -> None:
    corner = Image.new("L", (3, 2))
    corner.putpixel((0, 0), 255)  # stored at the upper left, seen at the upper right
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    assert decode(saved(corner, "PNG", exif=exif), 1).tolist() == [[[0, 255], [0, 0], [0, 0]]]


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0no TIFF header", b"Exif\0\0II*\0\xff\xff"])
def test_damaged_exif_data_turn_nothing(picture: Image.Image, exif: bytes) -> None:
    file = saved(picture, "JPEG", exif=exif)
    assert difference(decode(file, 3), as_tensor(picture)) < 4


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_shows_the_picture(odd_files: Odd, picture: Image.Image, channels: int) -> None:
    colour, grey = as_tensor(picture), as_tensor(picture.convert("L"))
    for name, content in odd_files.items():
        stem, _, suffix = name.partition(".")
        pixels = decode(io.BytesIO(content), channels)
        assert pixels.dtype == torch.uint8
        orientation = int(stem[-1]) if stem.startswith("turned") else 6 if stem == "xmp" else 1
        if orientation != 1:
            back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
            shown = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
            pixels = as_tensor(shown.transpose(back.get(orientation, TURNS.get(orientation))))  # type: ignore[arg-type]
        is_grey = stem in ("scan", "mode_L", "mode_LA")
        if stem == "mode_1":
            assert set(pixels.unique().tolist()) == {0, 255}
            continue
        like = grey.expand(channels, -1, -1) if is_grey or channels == 1 else colour
        assert difference(pixels, like) < (6 if suffix in ("gif", "webp") else 4), name


def test_lab_is_what_colour_management_makes_of_it(picture: Image.Image) -> None:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert lab is not None and difference(decode(saved(lab, "TIFF"), 3), as_tensor(picture)) < 2


def test_what_a_transparent_pixel_hides_is_shown() -> None:
    hidden = Image.new("RGBA", (2, 1), (10, 200, 30, 0))
    assert decode(saved(hidden, "PNG"), 3)[:, 0, 0].tolist() == [10, 200, 30]


def test_transparent_palette_makes_no_warning() -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([0, 0, 0, 255, 255, 255])
    assert decode(saved(image, "PNG", transparency=b"\x00\xff"), 3).shape == (3, 4, 4)


def test_other_formats_are_refused_whatever_their_name_says(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(path, "PDF")
    with path.open("rb") as file:
        assert "no image in it of one of the formats JPEG" in str(defect(file))


@pytest.mark.parametrize("channels", [1, 3])
def test_dali_decodes_what_it_is_given_to_the_same_pixels(odd_files: Odd, channels: int) -> None:
    dali = pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    from nvidia.dali import fn, types

    given = {name: for_dali(content) for name, content in odd_files.items()}
    pipe = dali.Pipeline(batch_size=len(given), num_threads=1, device_id=None)
    with pipe:
        x = fn.decoders.image(fn.external_source(name="x"), device="cpu", adjust_orientation=False)
        if channels == 1:
            x = fn.color_space_conversion(x, image_type=types.RGB, output_type=types.GRAY)
        pipe.set_outputs(x)
    pipe.build()
    pipe.feed_input("x", [np.frombuffer(content, np.uint8) for content, _ in given.values()])
    pipe.schedule_run()
    (shown,) = pipe.outputs()
    for number, (name, (_, size)) in enumerate(given.items()):
        theirs = torch.from_numpy(np.array(shown.at(number))).permute(2, 0, 1)
        ours = decode(io.BytesIO(odd_files[name]), channels)
        assert ours.shape[1:] == theirs.shape[1:] == size, name
        assert (ours.int() - theirs.int()).abs().max() <= (1 if channels == 1 else 0), name


def test_dali_gets_ordinary_files_as_they_are(picture: Image.Image) -> None:
    for form in ("JPEG", "PNG", "WEBP"):
        content = saved(picture, form).getvalue()
        assert for_dali(content) == (content, (30, 40))
    assert for_dali(content, by_pillow=True)[0].startswith(b"P6 40 30 255\n")


def module(config: Config, data: dict[str, Any]) -> PretrainDataModule:
    pipeline = {"crop_size": 24, "num_crops": 2, "horizontal_flip": {"prob": 0.5}}
    cfg = config(
        data={"dataset": "custom", "num_workers": 0, **data},
        optimizer={"batch_size": 8},
        augmentations=[pipeline],
    )
    images = load_set(cfg.data, "train")
    assert images is not None
    return PretrainDataModule(cfg, images, images)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_every_loader_shows_odd_files_alike(
    odd_files: Odd, config: Config, tmp_path: Path, channels: int
) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    root, packed = tmp_path / "files", tmp_path / "files.h5"
    with h5py.File(packed, "w") as file:
        for number, (name, content) in enumerate(sorted(odd_files.items())):
            path = root / "ab"[number % 2] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            file[f"{'ab'[number % 2]}/{name}"] = np.frombuffer(content, np.uint8)
    data: dict[str, Any] = {"train_path": str(root), "channels": channels}
    folder = module(config, data)
    assert isinstance(folder.train_set, FolderSet) and len(folder.train_set) == len(odd_files)
    others = [
        module(config, data | {"format": "h5", "train_path": str(packed)}),
        module(config, data | {"format": "dali"}),
        module(config, data | {"format": "dali", "train_path": str(packed)}),
    ]
    step = 255 * 0.225
    for other in others:
        for ours, theirs in zip(folder.train_dataloader(), other.train_dataloader(), strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[2], theirs[2])
            for one, same in zip(ours[1], theirs[1], strict=True):
                assert (one - same).abs().mean((1, 2, 3)).max() * step < 3
        for (X, y), (Z, z) in zip(folder.val_dataloader(), other.val_dataloader(), strict=True):
            assert torch.equal(y, z)
            assert (X - Z).abs().mean((1, 2, 3)).max() * step < 12  # up to half a pixel off
