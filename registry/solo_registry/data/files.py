"""Image files: which there are, whether they are whole, and what is in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from solo_registry.errors import UserError

SUFFIXES = {
    ".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
# the bytes that end a whole file; other formats are decoded to see whether they are whole
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
TAIL = 64


def images_below(root: Path, folder: Path) -> list[str]:
    """Sorted paths, relative to `root`, of the image files anywhere below `folder`."""

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read folder {error.filename}: {error.strerror}") from error

    found = []
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = filter(is_shown, folders)
        found += [
            os.path.relpath(os.path.join(where, name), root)
            for name in files
            if is_shown(name) and os.path.splitext(name)[1].lower() in SUFFIXES
        ]
    return sorted(found)


def is_shown(name: str) -> bool:
    """Whether a file or folder counts: hidden ones, such as macOS leaves behind, do not."""
    return not name.startswith(".")


def defect(file: BinaryIO) -> str | None:
    """Say what is wrong with an image file, without decoding it where its end is in place.

    A PNG's checksums are compared as well, which reads all of it but decodes nothing.
    """
    try:
        with Image.open(file) as image:
            end = ENDS.get(image.format or "")
            if image.format == "PNG":
                image.verify()
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            if end is None or end not in file.read():
                file.seek(0)
                Image.open(file).load()
    except UnidentifiedImageError:
        return "not an image of a known format"
    except Exception as error:  # Pillow raises whatever it meets in broken bytes
        return str(error) or type(error).__name__
    return None


def decode(file: Path | BinaryIO, channels: int) -> Tensor:
    """Read an image as uint8 (channels, H, W), whatever mode it is stored in.

    Args:
        file: its path, or the open file.
        channels: 3 for RGB, 1 for grey; transparency is dropped.
    """
    with Image.open(file) as image:
        if image.mode.startswith("I"):  # 16 bits: Pillow would clip what is above 255
            deep = np.asarray(image).astype(np.int64) // 256
            shown = Image.fromarray(deep.clip(0, 255).astype(np.uint8))
        else:
            # by way of RGBA, as Pillow warns of a palette with transparency otherwise
            shown = image.convert("RGBA") if image.mode == "P" else image
        pixels = torch.from_numpy(np.array(shown.convert("RGB" if channels == 3 else "L")))
    return pixels.permute(2, 0, 1) if channels == 3 else pixels[None]
