from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from solo_registry.data.opened import OpenedData, open_data
from solo_registry.data.sets import ImageSet, TensorSet

Change = Callable[[Path], Any]


def custom(root: Path, **keys: Any) -> OpenedData:
    return open_data(SimpleNamespace(dataset="custom", train_path=str(root), **keys))


def edit(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def swap(folder: Path) -> None:
    one, other = folder / "cat" / "a.png", folder / "dog" / "a.png"
    one.rename(folder / "x.png"), other.rename(one), (folder / "x.png").rename(other)


def test_the_same_folder_elsewhere_has_the_same_digest(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "photos"
    shutil.copytree(folder, copy)
    (copy / "cat" / "more.txt").write_text("no image")
    os.utime(copy / "cat" / "a.png", (1, 1))
    assert custom(folder).digest == custom(copy).digest
    assert len(custom(folder).digest) == 16 and custom(folder).digest.startswith("d")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: shutil.copy(folder / "cat/a.png", folder / "cat/z.png"),
        lambda folder: (folder / "dog/c.webp").unlink(),
        lambda folder: (folder / "dog/c.webp").rename(folder / "dog/d.webp"),
        lambda folder: (folder / "dog/a.png").rename(folder / "cat/x.png"),
        lambda folder: (folder / "dog/a.png").write_bytes(b"of another size"),
        lambda folder: (folder / "dog").rename(folder / "wolf"),
        lambda folder: edit(folder / "cat/deep/c.bmp"),
        swap,
    ],
    ids=["added", "removed", "renamed", "moved", "size", "class", "pixel", "swapped"],
)
def test_a_changed_folder_has_another_digest(folder: Path, change: Change) -> None:
    before = custom(folder)
    digest = before.digest
    change(folder)
    assert custom(folder).digest != digest


def test_labels_and_validation_images_count(folder: Path) -> None:
    plain, both = custom(folder), custom(folder, val_path=str(folder))
    assert len({plain.digest, both.digest, custom(folder, no_labels=True).digest}) == 3
    assert custom(folder, val_path=str(folder), validation_fraction=0.2).digest == plain.digest
    assert both.counts() == {"train": {"cat": 3, "dog": 3}, "val": {"cat": 3, "dog": 3}}
    assert custom(folder, no_labels=True).counts() == {"train": {"": 6}}


def test_a_class_list_counts_by_what_it_chooses(folder: Path, tmp_path: Path) -> None:
    (folder / "eel").mkdir()
    shutil.copy(folder / "cat" / "a.png", folder / "eel" / "a.png")
    lists = []
    for name, text in (("a", "cat\ndog\n"), ("b", "dog cat"), ("c", "cat\neel\n")):
        (tmp_path / name).write_text(text)
        lists.append(custom(folder, class_list=str(tmp_path / name)).digest)
    assert lists[0] == lists[1] != lists[2] and custom(folder).digest not in lists


def test_every_pixel_and_label_of_a_set_in_memory_counts(noise: Callable[..., TensorSet]) -> None:
    images = noise(count=5000, channels=1, size=4)
    digests = {images.digest(), noise(count=5000, channels=1, size=4).digest()}
    assert len(digests) == 1
    images.images[4999, 0, 3, 3] += 1
    digests.add(images.digest())
    images.targets[4500] = 3 - images.targets[4500]
    digests.add(images.digest())
    shape = TensorSet(images.info, images.images.view(5000, 1, 2, 8), images.targets)
    digests.add(shape.digest())
    assert len(digests) == 4


def test_a_set_of_a_third_party_needs_no_digest_of_its_own(noise: Callable[..., TensorSet]) -> None:
    class Theirs(ImageSet):
        def __init__(self, images: TensorSet) -> None:
            self.images, self.info, self.targets = images, images.info, images.targets

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.images[index]

        def subset(self, indices: Any) -> Any:
            raise AssertionError

    images = noise(count=6)
    first = Theirs(images).digest()
    assert first == Theirs(noise(count=6)).digest()
    images.targets[5] = 0
    assert Theirs(images).digest() != first


def test_of_many_files_some_are_looked_into(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:04}.png").write_bytes(b"x")
    first = custom(tmp_path, no_labels=True).digest
    (tmp_path / "0001.png").write_bytes(b"y")
    assert custom(tmp_path, no_labels=True).digest == first
    (tmp_path / "0003.png").write_bytes(b"y")
    second = custom(tmp_path, no_labels=True).digest
    (tmp_path / "0001.png").write_bytes(b"yy")
    assert len({first, second, custom(tmp_path, no_labels=True).digest}) == 3


def test_hdf5_counts_by_names_and_sizes(tmp_path: Path, folder: Path) -> None:
    digests = []
    for number, name in enumerate(("a.png", "b.png", "b.png")):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            for label in ("cat", "dog"):
                content = (folder / label / "a.png").read_bytes() + b"x" * (number == 2)
                file[f"{label}/{name}"] = np.frombuffer(content, np.uint8)
        digests.append(custom(path).digest)
    assert len(set(digests)) == 3
    os.rename(tmp_path / "0.h5", tmp_path / "moved.h5")
    assert custom(tmp_path / "moved.h5").digest == digests[0]


def test_broken_files_have_a_digest(folder: Path) -> None:
    (folder / "cat" / "a.png").write_bytes(b"broken")
    assert len(custom(folder).digest) == 16
