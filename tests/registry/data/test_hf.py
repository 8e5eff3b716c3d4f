"""Sets of Hugging Face's library, against the folder of the same files."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet_file
import pytest
import torch
from PIL import Image
from tests.conftest import tiny_config

from solo_registry.data.sets import ImageSet, load_set
from solo_registry.errors import UserError
from solo_registry.export.pack_data import pack_data
from solo_registry.jobs.pretrain import pretrain

datasets = pytest.importorskip("datasets", reason="datasets is not installed")
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Train and val folders of noise: 9 and 3 files, in three classes."""
    noise = np.random.default_rng(0)
    for split, each in (("train", 3), ("val", 1)):
        for name in CLASSES:
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(each):
                pixels = noise.integers(0, 256, (9 + i, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def load(split: Any = "train", **data: Any) -> ImageSet | None:
    return load_set(SimpleNamespace(**{"dataset": "hf", **data}), split)


def folder(photos: Path, split: Any) -> ImageSet:
    keys = {"train_path": str(photos / "train"), "val_path": str(photos / "val")}
    images = load_set(SimpleNamespace(dataset="custom", **keys), split)
    assert images is not None
    return images


def packed(photos: Path) -> dict[str, Any]:
    pack_data(photos / "train", photos / "packed", val=photos / "val", shard_mb=1)
    return {"train_path": str(photos / "packed")}


def saved(photos: Path) -> dict[str, Any]:
    found = datasets.DatasetDict(
        {name: datasets.Dataset.from_file(str(file)) for name, file in shards(photos).items()}
    )
    found.save_to_disk(str(photos / "saved"))
    return {"train_path": str(photos / "saved")}


def parquet(photos: Path) -> dict[str, Any]:
    for name, file in shards(photos).items():
        rows = datasets.Dataset.from_file(str(file)).rename_columns({"image": "img", "label": "y"})
        rows.to_parquet(str(photos / "parquet" / f"{name}-00000-of-00001.parquet"))
    return {"train_path": str(photos / "parquet"), "image_column": "img", "label_column": "y"}


def two_files(photos: Path) -> dict[str, Any]:
    parquet(photos)
    paths = {
        f"{s}_path": str(photos / f"parquet/{s}-00000-of-00001.parquet") for s in ("train", "val")
    }
    return paths | {"image_column": "img"}


def write_parquet(path: Path, rows: dict[str, Any]) -> None:
    parquet_file.write_table(pa.table(rows), path)


def shards(photos: Path) -> dict[str, Path]:
    packed(photos)
    return {split: photos / f"packed/{split}-00000.arrow" for split in ("train", "val")}


@pytest.mark.parametrize("write", [packed, saved, parquet, two_files])
def test_the_images_and_labels_are_those_of_the_folder(photos: Path, write: Any) -> None:
    keys = write(photos)
    for split in ("train", "val"):
        images, files = load(split, **keys), folder(photos, split)
        assert images is not None and len(images) == len(files)
        assert images.info.class_names == files.info.class_names == CLASSES
        assert images.targets.tolist() == files.targets.tolist()
        for (a, label), (b, expected) in zip(images, files, strict=True):
            assert torch.equal(a, b) and label == expected


def test_a_subset_and_a_copy_for_a_worker_read_the_same(photos: Path) -> None:
    images = load(**packed(photos))
    assert images is not None
    chosen = pickle.loads(pickle.dumps(images.subset([7, 2, 5]))).subset([1, 2])
    assert chosen.targets.tolist() == [0, 1]
    assert torch.equal(chosen[0][0], images[2][0]) and torch.equal(chosen[1][0], images[5][0])


def test_the_digest_is_of_content_and_labels(photos: Path) -> None:
    first = load(**packed(photos))
    assert first is not None
    again = load(**saved_elsewhere(photos, "same"))
    assert again is not None and again.digest() == first.digest()
    file = photos / "train" / "bee" / "1.png"
    Image.new("RGB", (12, 10)).save(file)
    other = load(**saved_elsewhere(photos, "other"))
    assert other is not None and other.digest() != first.digest()
    assert first.subset([0, 1]).digest() != first.subset([1, 0]).digest()


def saved_elsewhere(photos: Path, name: str) -> dict[str, Any]:
    pack_data(photos / "train", photos / name)
    return {"train_path": str(photos / name)}


def test_shards_begin_after_so_many_megabytes(photos: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, 600, 600, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(photos / "train" / "ant" / f"big{i}.png")
    assert pack_data(photos / "train", photos / "packed", shard_mb=1) == {"train": 13}
    assert len(list((photos / "packed").glob("train-*.arrow"))) > 2
    images, files = load(train_path=str(photos / "packed")), folder(photos, "train")
    assert images is not None
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(images, files, strict=True))


def test_webdataset_shards(photos: Path) -> None:
    import tarfile

    with tarfile.open(photos / "train.tar", "w") as tar:
        for label, name in enumerate(CLASSES):
            tar.add(photos / "train" / name / "0.png", f"{name}.png")
            (photos / "label").write_text(str(label))
            tar.add(photos / "label", f"{name}.cls")
    images = load(train_path=str(photos / "train.tar"))
    assert images is not None and images.targets.tolist() == [0, 1, 2]
    assert torch.equal(images[1][0], folder(photos, "train")[3][0])


def test_a_broken_image_is_left_out_and_counted(photos: Path) -> None:
    rows = {"image": [file.read_bytes() for file in sorted((photos / "train/ant").iterdir())]}
    rows["image"][1] = rows["image"][1][:40]
    write_parquet(photos / "broken.parquet", rows | {"label": [0, 0, 1]})
    keys = {"train_path": str(photos / "broken.parquet"), "check_files": False}
    with pytest.raises(UserError, match=r"cannot read image .*broken.parquet.row 1"):
        images = load(**keys)
        assert images is not None
        images[1]
    skipping = load(**keys, on_error="skip")
    assert skipping is not None
    with pytest.warns(UserWarning, match="row 1"):
        assert torch.equal(skipping[1][0], skipping[2][0])
    assert skipping.unreadable == {1}  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match="left out 1 of 3"):
        checked = load(**keys | {"check_files": True}, on_error="skip")
    assert checked is not None and checked.targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "data.train_path .* data.name .*neither"),
        ({"train_path": "nowhere"}, "nowhere does not exist"),
        ({"train_path": "packed", "name": "x/y"}, "got both"),
        ({"train_path": "packed", "image_column": "imgae"}, "imgae is no column.*mean 'image'"),
        ({"train_path": "packed", "train_split": "trian"}, "no split 'trian'.*mean 'train'"),
        (
            {"train_path": "two.parquet"},
            "several columns of labels: label, cls; set data.label_",
        ),
        ({"train_path": "none.parquet"}, "no label column.*no_labels=true"),
        ({"train_path": "words.txt"}, "words.txt must be a folder, or end in .arrow, .parquet"),
        ({"name": "no-one/nothing-here"}, "not in the cache.*data.download=true"),
    ],
)
def test_a_mistake_is_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], text: str
) -> None:
    monkeypatch.chdir(photos)
    packed(photos)
    image = [(photos / "train/ant/0.png").read_bytes()]
    (photos / "words.txt").write_text("no set")
    write_parquet(Path("two.parquet"), {"image": image, "label": [0], "cls": [0]})
    write_parquet(Path("none.parquet"), {"image": image})
    with pytest.raises(UserError, match=text):
        load(**keys)


def test_packing_refuses_a_broken_file_and_leaves_nothing(photos: Path) -> None:
    (photos / "train" / "cat" / "9.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"9\.png"):
        pack_data(photos / "train", photos / "packed")
    assert not [path for path in photos.iterdir() if "packed" in path.name]
    (photos / "packed").mkdir()
    with pytest.raises(UserError, match="exists"):
        pack_data(photos / "train", photos / "packed")


@pytest.mark.slow
def test_a_run_on_shards_gives_the_bytes_of_a_run_on_the_folder(photos: Path) -> None:
    def trained(name: str, **data: Any) -> bytes:
        words = "max_epochs=1", "optimizer.batch_size=4", "data.fraction=-1", "evaluation.knn_k=3"
        cfg = tiny_config(photos / name, "simclr_dyntemp", *words)
        cfg.data = {**cfg.data, "format": "image_folder", **data}
        return (pretrain(cfg).path / "metrics.csv").read_bytes()

    places = {f"{split}_path": str(photos / split) for split in ("train", "val")}
    assert trained("a", dataset="custom", **places) == trained("b", dataset="hf", **packed(photos))
