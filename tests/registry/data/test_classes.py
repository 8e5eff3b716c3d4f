"""Class folders and class lists as people, Windows and macOS write them."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from solo_registry.data.classes import class_folders, labelled_files, listed
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError

Save = Callable[..., Path]
NAMES = ["#1", "cat", "golden", "golden retriever", "n01440764", "n01443537"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("golden retriever\ncat\n", ["cat", "golden retriever"]),
        ("golden retriever\n", ["golden retriever"]),
        ("golden a metal\ncat\n", ["cat", "golden"]),
        ("\ufeffcat\r\ngolden retriever\r\n", ["cat", "golden retriever"]),
        ("# my classes\n\n cat \ngolden\n", ["cat", "golden"]),
        ("#1\ncat\n", ["#1", "cat"]),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ["n01440764", "n01443537"]),
        ("n01440764 n01443537 cat", ["cat", "n01440764", "n01443537"]),
        ("cat\ncat\n", ["cat"]),
    ],
)
def test_a_class_list(tmp_path: Path, content: str, expected: list[str]) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content.encode())
    assert listed(NAMES, tmp_path, str(path)) == expected


def test_a_misspelt_name_with_a_space_gets_its_nearest(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("cat\nGolden Retriever\n")
    with pytest.raises(UserError, match=r"no class 'Golden'.* Did you mean 'golden retriever'\?"):
        listed(NAMES, tmp_path, str(path))


NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def images(data: dict[str, Any], split: Any) -> Any:
    return load_set(SimpleNamespace(dataset="custom", **data), split)


@pytest.mark.parametrize(("ours", "theirs"), [(NFC, NFD), (NFD, NFC)])
def test_names_that_look_the_same_are_the_same_class(
    tmp_path: Path, save_noise: Save, ours: str, theirs: str
) -> None:
    for split, name in (("train", ours), ("val", theirs)):
        save_noise(tmp_path / split / name / "a.png")
        save_noise(tmp_path / split / "tea" / "a.png")
    (tmp_path / "classes.txt").write_text(f"{theirs}\ntea\n", encoding="utf-8")
    data = {f"{split}_path": str(tmp_path / split) for split in ("train", "val")}
    for more in ({}, {"class_list": str(tmp_path / "classes.txt")}):
        train, val = (images(data | more, split) for split in ("train", "val"))
        assert train.info.class_names == val.info.class_names == (NFC, "tea")
        assert train.targets.tolist() == val.targets.tolist() == [0, 1]
        assert train[0][0].shape == val[0][0].shape


def test_two_folders_that_look_the_same_are_refused(tmp_path: Path, save_noise: Save) -> None:
    for name in (NFC, NFD):
        save_noise(tmp_path / name / "a.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does it by itself")
    with pytest.raises(UserError, match=r"two folders named 'caf. ?', .*NFC and NFD"):
        class_folders(tmp_path)


def test_another_case_is_another_class_with_a_hint(folder: Path, save_noise: Save) -> None:
    save_noise(folder.parent / "val" / "DOG" / "a.png")
    with pytest.raises(UserError, match=r"class 'DOG' that data.train_path does not.*'dog'\?"):
        labelled_files(folder.parent / "val", class_folders(folder))


@pytest.mark.parametrize(
    ("target", "where"),
    [("nowhere", "nowhere"), (".", "to a folder that it lies in"), ("..", "to a folder that")],
)
def test_a_link_that_can_be_no_class(folder: Path, target: str, where: str) -> None:
    (folder / "emu").symlink_to(target)
    with pytest.raises(UserError, match=rf"images/emu is a link that leads {where}"):
        class_folders(folder)
    listing = folder.parent / "classes.txt"
    listing.write_text("cat\ndog\n")
    assert class_folders(folder, str(listing)) == ["cat", "dog"]
    assert len(labelled_files(folder, ["cat", "dog"], str(listing))[0]) == 6


def test_images_beside_the_class_folders_are_counted(folder: Path, save_noise: Save) -> None:
    save_noise(folder / "stray.png")
    with pytest.warns(UserWarning, match=r"left out images in .*no class folder: 1, .*stray\.png"):
        paths, _ = labelled_files(folder, ["cat", "dog"])
    assert len(paths) == 6
