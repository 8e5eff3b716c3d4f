"""Damaged files of every reader of data: read, or refused in one paragraph; never a hang.

Damage is seeded: bits flipped, an end cut off, bytes zeroed, doubled, inserted or lost, a header of
another file.
"""

from __future__ import annotations

import gzip
import os
import signal
import socket
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from solo_registry.config.index_file import read_indices, write_indices
from solo_registry.data.module import check_labels
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError

pytestmark = pytest.mark.slow

SECONDS = 60
FEW, MANY = range(5), range(5, 30)
IMAGES = ("png", "jpg", "webp", "bmp", "tif", "gif", "ppm", "jp2", "avif")
Save = Callable[..., Path]
Reader = Callable[[Path], Any]


def damaged(content: bytes, case: int, others: list[bytes]) -> bytes:
    """Return `content` with one kind of damage; the same for the same case."""
    draw = np.random.default_rng([case, len(content)])
    size = len(content)
    # half of the damage falls on the beginning, where a format says what follows
    place = int(draw.integers(min(size, 64) if draw.random() < 0.5 else size))
    length = int(draw.integers(1, 1 + min(64, size - place)))
    some = bytes(draw.integers(0, 256, length, dtype=np.uint8))
    head = others[int(draw.integers(len(others)))][:32]
    kinds: list[Callable[[], bytes]] = [
        lambda: content[:place] + bytes([content[place] ^ (1 << int(draw.integers(8)))])
        + content[place + 1 :],
        lambda: content[:place],
        lambda: content[:place] + bytes(length) + content[place + length :],
        lambda: content[:place] + some + content[place + length :],
        lambda: content[:place] + b"\xff" * length + content[place + length :],
        lambda: content[:place] + some + content[place:],
        lambda: content[:place] + content[place + length :],
        lambda: content + content[place:],
        lambda: head + content[len(head) :],
        lambda: b"",
    ]  # fmt: skip
    return kinds[int(draw.integers(len(kinds)))]()


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raise if what is inside takes longer."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def read(reader: Reader, path: Path) -> bool:
    """Whether the file can be read; any error but a paragraph fails the test."""
    with within(SECONDS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader(path)
        except UserError as error:
            assert str(error).strip() and "Traceback" not in str(error)
            return False
    return True


def every_image(split: str = "train", **data: Any) -> None:
    """Open, hash, check and read a set, as a run does."""
    section = SimpleNamespace(**data)
    images = load_set(section, split)  # type: ignore[arg-type]
    assert images is not None
    images.digest()
    check_labels(images, None, section)
    for index in range(len(images)):
        pixels, label = images[index]
        assert pixels.dtype.itemsize == 1 and isinstance(label, int)


@pytest.fixture
def readers(
    tmp_path: Path, save_noise: Save, monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[Path, Reader]]:
    """Whole files, by kind, and what reads each."""
    made: dict[str, tuple[Path, Reader]] = {}

    def custom(root: Path, **data: Any) -> Reader:
        return lambda path: every_image(dataset="custom", train_path=str(root), **data)

    for suffix in IMAGES:
        root = tmp_path / suffix
        save_noise(root / "dog" / "b.png")
        for mode in ("raise", "skip"):
            path = save_noise(root / "cat" / f"a.{suffix}")
            made[f"{suffix} {mode}"] = path, custom(root, on_error=mode)
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    for name in ("arrays.h5", "packed.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            packed = {"compression": "gzip"} if name == "packed.h5" else {}
            file.create_dataset("images", data=pixels, **packed)
            file.create_dataset("labels", data=np.arange(12) % 3, **packed)
        made[name] = tmp_path / name, custom(tmp_path / name)
    with h5py.File(tmp_path / "files.h5", "w") as file:
        png = (tmp_path / "png" / "dog" / "b.png").read_bytes()
        for name in ("cat/a", "cat/b", "dog/a"):
            file[name] = np.frombuffer(png, np.uint8)
    made["files.h5"] = tmp_path / "files.h5", custom(tmp_path / "files.h5")
    idx = tmp_path / "idx"
    idx.mkdir()
    for stem in ("train", "t10k"):
        head = struct.pack(">4B3I", 0, 0, 8, 3, 12, 28, 28)
        (idx / f"{stem}-images-idx3-ubyte").write_bytes(head + bytes(12 * 28 * 28))
        labels = struct.pack(">4BI", 0, 0, 8, 1, 12) + bytes(range(10)) + b"\0\1"
        (idx / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    monkeypatch.setattr("solo_registry.data.arrays.DEBIAN_FASHION_MNIST", tmp_path / "none")

    def fashion(path: Path) -> None:
        every_image(dataset="fashion_mnist", train_path=str(idx))

    made["idx"] = idx / "train-images-idx3-ubyte", fashion
    made["idx.gz"] = idx / "train-labels-idx1-ubyte.gz", fashion
    classes = tmp_path / "classes.txt"
    classes.write_text("cat\ndog\n")
    made["class list"] = classes, custom(tmp_path / "png", class_list=str(classes))
    write_indices(range(0, 40, 3), tmp_path / "indices.txt")
    made["index file"] = tmp_path / "indices.txt", lambda path: read_indices(path, 40)
    tiny = tmp_path / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        save_noise(tiny / "train" / name / "images" / "a.png", width=64, height=64)
        save_noise(tiny / "val" / "images" / f"{name}.png", width=64, height=64)
    listed = tiny / "val" / "val_annotations.txt"
    listed.write_text("n01.png\tn01\t0\t0\t9\t9\nn02.png\tn02\t0\t0\t9\t9\n")
    made["annotations"] = (
        listed,
        lambda path: every_image("val", dataset="tiny_imagenet", train_path=str(tmp_path)),
    )
    return made


@pytest.mark.parametrize(
    "cases", [FEW, pytest.param(MANY, marks=[pytest.mark.nightly, pytest.mark.slow])], ids=str
)
def test_damage_is_a_paragraph(readers: dict[str, tuple[Path, Reader]], cases: range) -> None:
    wholes = {kind: path.read_bytes() for kind, (path, _) in readers.items()}
    refused = 0
    for number, (kind, (path, reader)) in enumerate(readers.items()):
        assert read(reader, path), kind
        for case in cases:
            path.write_bytes(damaged(wholes[kind], 1000 * number + case, [*wholes.values()]))
            try:
                refused += not read(reader, path)
            except BaseException as error:
                error.add_note(f"{kind}, case {case}") if hasattr(error, "add_note") else None
                raise
        path.write_bytes(wholes[kind])
    assert refused > len(cases) * len(readers) // 4


@pytest.mark.parametrize(
    "what", ["pipe", "socket", "folder", "device", "nothing", "link to itself"]
)
def test_what_is_no_file_is_a_paragraph(
    readers: dict[str, tuple[Path, Reader]], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, (path, reader) in readers.items():
        whole = path.read_bytes()
        path.unlink()
        if what == "pipe":
            os.mkfifo(path)
        elif what == "socket":
            monkeypatch.chdir(path.parent)  # the name of a socket must be short
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        elif what == "folder":
            path.mkdir()
        elif what == "device":
            path.symlink_to("/dev/zero")
        elif what == "link to itself":
            path.symlink_to(path.name)
        still_there = kind.endswith("skip") or kind.split()[0] in ("annotations",)
        assert not read(reader, path) or still_there or what in ("folder", "nothing"), kind
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        path.write_bytes(whole)


@pytest.mark.parametrize("text", ["1\n2\n" + "9" * 5000, "1\n\u0665\u0666", "-1", "1.5", "0x1"])
def test_an_index_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "indices.txt").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"entry \d: .*index"):
        read_indices(tmp_path / "indices.txt", 40)
