import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from solo_registry.data import arrays
from solo_registry.data.sets import load_set
from solo_registry.errors import UserError


def idx(array: np.ndarray[Any, Any]) -> bytes:
    lengths = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


@pytest.fixture
def no_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(arrays, "DEBIAN_FASHION_MNIST", tmp_path / "nowhere")


@pytest.fixture
def fake_fashion(tmp_path: Path, no_debian: None) -> Callable[[Path], Path]:
    """Writes four small files in Fashion-MNIST's format; image i is all i, its label i % 10."""

    def write(root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for stem, count in (("train", 30), ("t10k", 10)):
            numbers = np.arange(count, dtype=np.uint8)
            images = np.broadcast_to(numbers[:, None, None], (count, 28, 28))
            contents = {"images-idx3": images, "labels-idx1": numbers % 10}
            for kind, values in contents.items():
                (root / f"{stem}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
        return root

    return write


def test_digits_are_whole_disjoint_and_stratified() -> None:
    train, val = arrays.digits(None, "train"), arrays.digits(None, "val")
    assert train.info == val.info
    assert len(train) + len(val) == 1797
    assert train.images.dtype == torch.uint8 and train.images.max() == 255
    assert (val.targets.bincount() - 0.2 * 179.7).abs().max() < 2
    pixels = train.images.double() / 255
    assert train.info.mean == pytest.approx([pixels.mean().item()])
    assert train.info.std == pytest.approx([pixels.std().item()], rel=1e-4)


@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_fashion_mnist_from_files(
    tmp_path: Path, fake_fashion: Callable[[Path], Path], below: str
) -> None:
    fake_fashion(tmp_path / below)
    data = SimpleNamespace(dataset="fashion_mnist", train_path=str(tmp_path))
    train, val = load_set(data, "train"), load_set(data, "val")
    assert train is not None and val is not None
    assert (len(train), len(val)) == (30, 10)
    image, target = train[23]
    assert image.shape == (1, 28, 28) and image.eq(23).all() and target == 3


def test_fashion_mnist_without_gzip_and_val_in_its_own_folder(
    tmp_path: Path, fake_fashion: Callable[[Path], Path]
) -> None:
    for file in list(fake_fashion(tmp_path / "val").glob("*.gz")):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    data = SimpleNamespace(train_path=tmp_path / "train", val_path=tmp_path / "val")
    assert len(arrays.fashion_mnist(data, "val")) == 10


def test_fashion_mnist_tells_three_ways(tmp_path: Path, no_debian: None) -> None:
    with pytest.raises(UserError) as caught:
        arrays.fashion_mnist(SimpleNamespace(train_path=tmp_path / "none"), "train")
    ways = ("data.train_path=", "apt-get install dataset-fashion-mnist", "data.download=true")
    assert all(way in str(caught.value) for way in ways)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"no gzip", "cannot read .*train-images-idx3-ubyte.gz"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))[:30], "cannot read .*train-images"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8))[:-1]), "not a complete idx file"),
        (gzip.compress(b"\0\0\x08\xff"), "not a complete idx file"),
        (gzip.compress(b""), "not a complete idx file"),
        (gzip.compress(idx(np.zeros((3, 28, 28), np.uint8))), "do not match"),
    ],
    ids=["text", "cut", "too short", "another type", "empty", "too few"],  # gzip holds the time
)
def test_broken_fashion_mnist_names_the_file(
    tmp_path: Path, fake_fashion: Callable[[Path], Path], content: bytes, error: str
) -> None:
    (fake_fashion(tmp_path) / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(UserError, match=error):
        arrays.fashion_mnist(SimpleNamespace(train_path=tmp_path), "train")


@pytest.mark.skipif(
    not arrays.DEBIAN_FASHION_MNIST.is_dir(),
    reason="Debian's dataset-fashion-mnist is not installed",
)
@pytest.mark.slow
def test_the_real_fashion_mnist(tmp_path: Path) -> None:
    train = arrays.fashion_mnist(SimpleNamespace(train_path=tmp_path), "train")
    val = arrays.fashion_mnist(SimpleNamespace(train_path=tmp_path), "val")
    assert (len(train), len(val)) == (60_000, 10_000)
    assert set(train.targets.bincount().tolist()) == {6000}
    pixels = train.images[:, 0].float() / 255
    assert train.info.mean[0] == pytest.approx(pixels.mean().item(), abs=1e-4)
    assert train.info.std[0] == pytest.approx(pixels.std().item(), abs=1e-4)


@pytest.fixture
def fake_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four images per file in CIFAR-10's format; torchvision's checksums are left out."""
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for number in range(1, 7):
        name = f"data_batch_{number}" if number < 6 else "test_batch"
        rows = np.arange(4 * 3072).reshape(4, 3072).astype(np.uint8)
        (base / name).write_bytes(pickle.dumps({"data": rows, "labels": [number, 0, 1, 2]}))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    monkeypatch.setattr(
        torchvision.datasets.CIFAR10,
        "_check_integrity",
        lambda self: Path(self.root, self.base_folder).is_dir(),
    )
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    return tmp_path


def test_cifar_from_its_files(fake_cifar: Path) -> None:
    data = SimpleNamespace(dataset="cifar10", train_path=str(fake_cifar), val_path="not/there")
    train, val = load_set(data, "train"), load_set(data, "val")
    assert train is not None and val is not None
    assert (len(train), len(val)) == (20, 4)
    image, target = train[0]
    # a row holds the red plane, then green, then blue
    assert torch.equal(image.flatten(), torch.arange(3072).to(torch.uint8)) and target == 1
    assert train.info.class_names == tuple("abcdefghij")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_torchvisions_sets_are_not_downloaded_unasked(
    tmp_path: Path, name: str, split: Any
) -> None:
    data = SimpleNamespace(dataset=name, train_path=str(tmp_path))
    with pytest.raises(UserError, match=f"{name.upper()} is not in {tmp_path} .*download=true"):
        load_set(data, split)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", refuse)
    data = SimpleNamespace(dataset="cifar10", train_path=str(tmp_path), download=True)
    with pytest.raises(UserError, match=r"cannot download CIFAR10 in .* no route to host"):
        load_set(data, "train")


def test_stl10_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "stl10_binary"
    base.mkdir()
    for name, count in (("train", 2), ("unlabeled", 3), ("test", 1)):
        np.zeros((count, 3, 96, 96), np.uint8).tofile(base / f"{name}_X.bin")
        np.ones(count, np.uint8).tofile(base / f"{name}_y.bin")
    (base / "class_names.txt").write_text("\n".join(arrays.STL_CLASSES))
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    data = SimpleNamespace(train_path=str(tmp_path))
    assert arrays.stl10(data, "train").targets.tolist() == [0, 0, -1, -1, -1]
    assert arrays.stl10(data, "val").targets.tolist() == [0]
    for part, labels in (("train", [0, 0]), ("unlabeled", [-1, -1, -1])):
        data.train_split = part
        assert arrays.stl10(data, "train").targets.tolist() == labels
        assert arrays.stl10(data, "val").targets.tolist() == [0]
    data.train_split = "unlabelled"
    with pytest.raises(UserError, match=r"'unlabelled'. Did you mean 'unlabeled'\? Allowed: "):
        arrays.stl10(data, "train")
