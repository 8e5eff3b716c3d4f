"""`data=PATH`: what lies there decides who reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from solo_registry.config.compose import compose_config
from solo_registry.config.own_data import with_own_data
from solo_registry.data.classes import class_folders
from solo_registry.errors import UserError


@pytest.mark.parametrize(
    ("files", "reader"),
    [
        (["cat/1.png", "dog/1.png"], "custom"),
        (["cat/1.png", "photos.tar"], "custom"),  # the archive that the folders came from
        (["1.png"], "custom"),  # whose error says that it has no classes
        (["train-00000.arrow"], "hf"),
        (["train-00000.parquet", "README.md"], "hf"),
        (["000.tar", "001.tar"], "hf"),
        (["data/train-00000.parquet", "README.md", ".git/x"], "hf"),
        (["train/0.parquet", "test/0.parquet"], "hf"),
        (["dataset_dict.json", "train/state.json", "test/state.json"], "hf"),
        (["state.json", "dataset_info.json"], "hf"),
    ],
)
def test_folders(tmp_path: Path, files: list[str], reader: str) -> None:
    folder = tmp_path / "my set (2), é"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    words = with_own_data(f"data={folder}", ["digits"])
    assert words == [f"data={reader}", f"data.train_path={folder}"]
    cfg = compose_config([f"data={folder}"])
    assert (cfg.data.dataset, cfg.data.train_path) == (reader, str(folder))


@pytest.mark.parametrize("val", ["val", "test", None])
def test_train_and_val_are_no_classes(tmp_path: Path, val: str | None) -> None:
    folder = tmp_path / "it's (1), é"
    for name in ("train", *([val] if val else []), ".git", "__MACOSX"):
        (folder / name / "cat").mkdir(parents=True)
        (folder / name / "dog").mkdir()
    cfg = compose_config([f"data={folder}"])
    assert cfg.data.train_path == f"{folder}/train"
    assert cfg.data.val_path == (f"{folder}/{val}" if val else None)
    for words in ([f"data={folder}/", "data.val_path=x"], ["data.val_path=x", f"data={folder}"]):
        cfg = compose_config(words)
        assert (cfg.data.train_path, cfg.data.val_path) == (f"{folder}/train", "x")
    with pytest.raises(UserError, match=r"are no classes: data.train_path=.*/train"):
        class_folders(folder)
    (word, train, *_) = with_own_data("data='" + str(folder).replace("'", "\\'") + "'", [])
    assert compose_config([word, train]).data.train_path == f"{folder}/train"
    (folder / "bird").mkdir()  # so they are classes
    assert compose_config([f"data={folder}"]).data.train_path == str(folder)
    assert "train" in class_folders(folder)


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.arrow", "a.parquet", "a.tar"])
def test_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    reader = "custom" if name.endswith(("h5", "hdf5")) else "hf"
    assert with_own_data(f"data={tmp_path / name}", [])[0] == f"data={reader}"


def test_a_data_sets_name_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert with_own_data("data=digits", ["digits"]) == ["data=digits"]
    assert with_own_data("data=digits", []) == ["data=custom", "data.train_path=digits"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("photo", "unknown data set 'photo'.*or a folder of your images, but nothing lies at"),
        ("./photo", r"nothing lies at .*photo\. Did you mean 'photos'\?"),
        ("none/photos", "nothing lies at"),
        ("digits.yaml", r"nothing lies at .*digits.yaml. Did you mean 'digits'\?"),
        ("~/no such photos", "nothing lies at"),
        ("photos.zip", "is an archive: unpack it"),
        ("cat.png", r"is a file, not a folder of images; files that are read end in .h5, .hdf5, "),
    ],
)
def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, text: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.zip").touch()
    (tmp_path / "cat.png").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=text):
        compose_config([f"data={value}"])


def test_several_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    value = f"{tmp_path / 'a'},{tmp_path / 'b'}"
    with pytest.raises(UserError, match=f"data=custom data.train_path={value}"):
        with_own_data(f"data={value}", ["digits"], several=True)
    assert with_own_data("data=digits,cifar10", ["digits", "cifar10"], several=True) == [
        "data=digits,cifar10"
    ]
