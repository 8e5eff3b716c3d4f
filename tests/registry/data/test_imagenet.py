from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from solo_registry.data.folder import FolderSet
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError

Save = Callable[..., Path]


def load(name: str, root: Path, split: Any = "train", **data: Any) -> FolderSet:
    images = load_set(SimpleNamespace(dataset=name, train_path=str(root), **data), split)
    assert isinstance(images, FolderSet)
    return images


@pytest.fixture
def tiny_imagenet(tmp_path: Path, save_noise: Save) -> Path:
    """Three classes as tiny-imagenet-200.zip unpacks."""
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n01", "n02", "n03"):
        for number in range(2):
            save_noise(root / "train" / name / "images" / f"{name}_{number}.JPEG", 64, 64)
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    lines = []
    for number, name in enumerate(("n03", "n01", "n03")):
        save_noise(root / "val" / "images" / f"val_{number}.JPEG", 64, 64)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    return root


def test_tiny_imagenet_as_it_unpacks(tiny_imagenet: Path) -> None:
    for root in (tiny_imagenet, tiny_imagenet.parent):
        train, val = load("tiny_imagenet", root), load("tiny_imagenet", root, "val")
        assert train.targets.tolist() == [0, 0, 1, 1, 2, 2] and val.targets.tolist() == [2, 0, 2]
        assert train.info == val.info and train.info.name == "tiny_imagenet"
        assert train.info.image_size == 64 and train[0][0].shape == (3, 64, 64)
        assert val.path(1).name == "val_1.JPEG"


def test_tiny_imagenet_after_an_editor_of_windows(tiny_imagenet: Path) -> None:
    annotations = tiny_imagenet / "val" / "val_annotations.txt"
    text = annotations.read_bytes().replace(b"\n", b"\r\n")
    annotations.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n")
    assert load("tiny_imagenet", tiny_imagenet, "val").targets.tolist() == [2, 0, 2]


def test_tiny_imagenet_with_val_in_class_folders(tiny_imagenet: Path, save_noise: Save) -> None:
    (tiny_imagenet / "val" / "val_annotations.txt").unlink()
    for path in (tiny_imagenet / "val" / "images").iterdir():
        path.unlink()
    (tiny_imagenet / "val" / "images").rmdir()
    save_noise(tiny_imagenet / "val" / "n02" / "x.JPEG", 64, 64)
    assert load("tiny_imagenet", tiny_imagenet, "val").targets.tolist() == [1]


def test_tiny_imagenet_errors_name_the_place(tiny_imagenet: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not in .*nowhere: data.train_path names the folder"):
        load("tiny_imagenet", tmp_path / "nowhere")
    annotations = tiny_imagenet / "val" / "val_annotations.txt"
    annotations.write_text("val_9.JPEG\tn01\n")
    with pytest.raises(UserError, match=r"val_annotations.txt, line 1: there is no .*val_9.JPEG"):
        load("tiny_imagenet", tiny_imagenet, "val")
    annotations.write_text("val_0.JPEG\n")
    with pytest.raises(UserError, match=r"line 1: .* names no file and class"):
        load("tiny_imagenet", tiny_imagenet, "val")


def test_imagenet_is_folders_and_fraction_applies(folder: Path) -> None:
    images = load("imagenet", folder, fraction=0.34)
    assert images.info.name == "imagenet" and images.targets.tolist() == [0, 1]


def test_imagenet_val_that_is_one_flat_folder(folder: Path, save_noise: Save) -> None:
    flat = folder.parent / "val"
    save_noise(flat / "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(UserError, match=r"val has none of the 2 class folders of data.train_path"):
        load("imagenet", folder, "val", val_path=str(flat))


def test_imagenet100_needs_a_list_or_a_hundred_folders(tmp_path: Path, save_noise: Save) -> None:
    for number in range(101):
        save_noise(tmp_path / "train" / f"n{number:03}" / "x.png", 4, 4)
    with pytest.raises(UserError, match=r"has 101 classes.*data.class_list=FILE.*HobbitLong/CMC"):
        load("imagenet100", tmp_path / "train")
    listing = tmp_path / "imagenet100.txt"
    listing.write_text(" ".join(f"n{number:03}" for number in range(1, 101)))
    images = load("imagenet100", tmp_path / "train", class_list=str(listing))
    assert len(images) == 100 and images.info.class_names[0] == "n001"
    assert images.info.name == "imagenet100"
