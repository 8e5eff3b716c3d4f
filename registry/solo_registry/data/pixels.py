"""Decodes image files to 8-bit pixels, by one rule for every loader.

`decode` is the rule; it uses Pillow. `for_dali` makes DALI follow it: DALI gets a file unchanged if
it decodes the file to the same pixels, and otherwise gets the pixels of `decode`.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

# the bytes at the end of a complete file; files of other formats are decoded to check them
ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
TAIL = 64
Image.init()  # loads Pillow's readers of all formats that it was built with
# the formats that we read, without PDF and others that Pillow also opens
FORMATS = tuple(
    name
    for name in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN
)
# MPO is a JPEG with further pictures behind it, as phones write it; Pillow opens it as JPEG
SUFFIXES = {
    suffix for suffix, name in Image.registered_extensions().items() if name in (*FORMATS, "MPO")
}
# what turns an image upright, by its EXIF orientation
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
GREY = ("1", "L", "LA")
# the formats and modes that DALI decodes to Pillow's pixels, to the bit on a CPU
DALI_READS = {
    "JPEG": ("L", "RGB"), "MPO": ("L", "RGB"), "WEBP": ("RGB", "RGBA"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
}  # fmt: skip
PNG_BITS = 24  # position of the byte that holds the number of bits per channel
# chunks of a PNG that can hold its orientation; Pillow may have to decode the file to find them
PNG_EXIF = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")


def defect(file: BinaryIO) -> str | None:
    """Return the reason why an image file cannot be used, or None.

    The file is decoded only if its end is missing. Checksums of a PNG are compared as well, which
    reads the whole file but decodes nothing.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            _bits(image)
            end = ENDS.get(image.format or "")
            if image.format == "PNG":
                image.verify()
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            if end is None or end not in file.read():
                file.seek(0)
                Image.open(file, formats=FORMATS).load()
    except UnidentifiedImageError:
        return f"Pillow finds no image in it of one of the formats {', '.join(FORMATS)}"
    except Exception as error:  # Pillow raises whatever it meets in broken bytes
        return str(error) or type(error).__name__
    return None


def decode(file: Path | BinaryIO, channels: int) -> Tensor:
    """Read the first picture of an image file, upright, as uint8 (channels, H, W).

    Of 16-bit and 12-bit values the upper 8 bits are kept. Pillow converts other colour spaces to
    sRGB and looks up palettes. Transparency is dropped: the colour that a transparent pixel hides
    is shown. The image is turned as its EXIF data say, as a person sees it.

    Args:
        file: its path, or the open file.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ValueError: the pixels are floats, or 32-bit or signed integers. No file says which of these
            values is black and which is white.
    """
    with Image.open(file, formats=FORMATS) as image:
        bits = _bits(image)
        image.load()
        shown = image if bits == 8 else _upper_bits(image, bits)
        if shown.mode in ("P", "PA"):
            # through RGBA, because otherwise Pillow warns about a palette with transparency
            shown = shown.convert("RGBA")
        if channels == 3 or shown.mode not in GREY:
            shown = shown.convert("RGB")
        if channels == 1:
            shown = shown.convert("L")
        if (turn := _turn(image)) is not None:
            shown = shown.transpose(turn)
        pixels = torch.from_numpy(np.array(shown))
    return pixels.permute(2, 0, 1) if channels == 3 else pixels[None]


def for_dali(content: bytes, by_pillow: bool = False) -> tuple[bytes, tuple[int, int]]:
    """Return bytes that DALI decodes to the pixels of `decode`, and their height and width.

    The bytes are `content` itself if DALI decodes it to these pixels, else an uncompressed PPM.

    Args:
        content: the bytes of an image file.
        by_pillow: always make a PPM file.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if not by_pillow and _dali_reads(image, content):
            return content, (image.height, image.width)
    pixels = decode(io.BytesIO(content), 3).permute(1, 2, 0)
    height, width = pixels.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + pixels.numpy().tobytes(), (height, width)


def _dali_reads(image: Image.Image, content: bytes) -> bool:
    if image.mode not in DALI_READS.get(image.format or "", ()):
        return False
    if image.format == "PNG":
        return content[PNG_BITS] <= 8 and not any(word in content for word in PNG_EXIF)
    return _turn(image) is None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the turn that makes a loaded image upright; ignore damaged EXIF data."""
    if image.format == "TIFF":  # Pillow turns it while loading; some versions keep the tag
        return None
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises whatever it meets in broken bytes
        return None


def _bits(image: Image.Image) -> int:
    """Return how many bits a channel has, from black (0) to white (all of them set)."""
    if image.mode[0] not in "IF":
        return 8
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floats" if image.mode == "F" else "signed or 32-bit integers"
        raise ValueError(
            f"its pixels are {kind}, and the file does not say which value is white: "
            "scale your images to 8 or 16 bits (0 is black, 255 or 65535 is white) and save those"
        )
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(ExifTags.Base.BitsPerSample, (16,))[0])


def _upper_bits(image: Image.Image, bits: int) -> Image.Image:
    """Return an image of one 12- or 16-bit channel in 8 bits; Pillow would clip it at 255."""
    deep = np.asarray(image).astype(np.int64).clip(0, (1 << bits) - 1) >> (bits - 8)
    if getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0:
        deep = 255 - deep  # 0 is white; Pillow inverts such images only up to 8 bits
    return Image.fromarray(deep.astype(np.uint8))
