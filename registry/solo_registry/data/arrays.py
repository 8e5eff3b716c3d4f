"""Data sets that live in memory: digits, Fashion-MNIST, CIFAR-10, CIFAR-100 and STL-10."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from solo_registry.config.settings import setting
from solo_registry.data.sets import SetInfo, Split, TensorSet
from solo_registry.errors import UserError, nearest
from solo_registry.paths import is_file

# Debian's package dataset-fashion-mnist puts the files here.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
STL_CLASSES = (
    "airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck",
)  # fmt: skip
STL_SPLITS = ("train+unlabeled", "unlabeled", "train")


def digits(data: Any, split: Split) -> TensorSet:
    """Load scikit-learn's 1797 handwritten digits, 8x8 grey, which are part of its package.

    The split is fixed: 20% of each class, drawn with seed 0, are "val". Mean and std are those of
    the training images.

    >>> train, val = digits(None, "train"), digits(None, "val")
    >>> len(train), len(val), train[0][0].shape
    (1437, 360, torch.Size([1, 8, 8]))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    train, val = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    info = SetInfo(
        name="digits",
        num_classes=10,
        channels=1,
        image_size=8,
        mean=(float(images[train].mean() / 255),),
        std=(float(images[train].std() / 255),),
        class_names=tuple("0123456789"),
    )
    chosen = np.sort(train if split == "train" else val)
    return TensorSet(info, torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]))


def fashion_mnist(data: Any, split: Split) -> TensorSet:
    """Load Fashion-MNIST, 60,000 + 10,000 grey images of 28x28 (Xiao et al., arXiv 1708.07747).

    The four idx files, gzipped or not, are searched in `data.train_path`, in torchvision's
    `FashionMNIST/raw` below it, and where Debian's package `dataset-fashion-mnist` puts them.
    """
    stem = "train" if split == "train" else "t10k"
    wanted = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    places = [DEBIAN_FASHION_MNIST]
    for root in reversed(_roots(data, split)):
        places = [root, root / "FashionMNIST" / "raw", *places]
    found = _find_all(places, wanted)
    if found is None and setting(data, "download", False):
        _torchvision("FashionMNIST", _roots(data, "train")[0], download=True, train=True)
        found = _find_all(places, wanted)
    if found is None:
        raise UserError(
            "Fashion-MNIST is not here. Three ways: put its idx .gz files into "
            f"data.train_path={setting(data, 'train_path', 'null')}; or "
            "`apt-get install dataset-fashion-mnist` on Debian and Ubuntu; or data.download=true "
            f"to fetch it by torchvision. Searched: {', '.join(map(str, places))}"
        )
    images, labels = read_idx(found[0]), read_idx(found[1])
    if images.ndim != 3 or len(images) != len(labels) or labels.ndim != 1:
        raise UserError(f"{found[0]} {images.shape} and {found[1]} {labels.shape} do not match")
    info = SetInfo("fashion_mnist", 10, 1, 28, (0.2860,), (0.3530,), FASHION_CLASSES)
    return TensorSet(info, torch.from_numpy(images)[:, None], torch.from_numpy(labels))


def cifar10(data: Any, split: Split) -> TensorSet:
    """Load CIFAR-10, 50,000 + 10,000 colour images of 32x32, through torchvision."""
    statistics = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return _cifar("CIFAR10", statistics, data, split)


def cifar100(data: Any, split: Split) -> TensorSet:
    """Load CIFAR-100, 50,000 + 10,000 colour images of 32x32, through torchvision."""
    statistics = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return _cifar("CIFAR100", statistics, data, split)


def _cifar(
    name: str, statistics: tuple[tuple[float, ...], tuple[float, ...]], data: Any, split: Split
) -> TensorSet:
    source = _from_torchvision(name, data, split, {"train": split == "train"})
    classes = tuple(source.classes)
    info = SetInfo(name.lower(), len(classes), 3, 32, *statistics, classes)
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous()
    return TensorSet(info, images, torch.tensor(source.targets))


def stl10(data: Any, split: Split) -> TensorSet:
    """Load STL-10, 96x96 colour, through torchvision.

    "train" is 5,000 labelled and 100,000 unlabelled images (2.9 GB), as in solo-learn, or what
    `data.train_split` says: "unlabeled" or "train" alone; "val" is the test split of 8,000.
    """
    chosen = setting(data, "train_split", STL_SPLITS[0])
    if chosen not in STL_SPLITS:
        raise UserError(
            f"data.train_split is '{chosen}'.{nearest(chosen, STL_SPLITS)} "
            f"Allowed: {', '.join(STL_SPLITS)}"
        )
    part = chosen if split == "train" else "test"
    source = _from_torchvision("STL10", data, split, {"split": part})
    info = SetInfo("stl10", 10, 3, 96, (0.4914, 0.4823, 0.4466), (0.247, 0.243, 0.261), STL_CLASSES)
    labels = torch.from_numpy(np.asarray(source.labels).astype(np.int64))
    return TensorSet(info, torch.from_numpy(source.data), labels)


def read_idx(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read an array of bytes in the idx format of MNIST, gzipped if the name ends in .gz.

    Raises:
        UserError: the file is no idx file of bytes, or is cut short; it is named.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    # two zero bytes, the type (8 is unsigned bytes), the number of axes, then each length
    axes = raw[3] if raw[:3] == b"\0\0\x08" and len(raw) > 3 else 0
    start = 4 + 4 * axes
    if axes and len(raw) >= start:
        shape = tuple(np.frombuffer(raw, ">u4", count=axes, offset=4).astype(int))
        if len(raw) - start == math.prod(shape):
            return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()
    raise UserError(f"{path} is not a complete idx file of bytes")


def _roots(data: Any, split: Split) -> list[Path]:
    """Folders in which to look: for "val", `val_path` comes before `train_path`."""
    keys = ("train_path",) if split == "train" else ("val_path", "train_path")
    named = [setting(data, key, None) for key in keys]
    return [Path(path).expanduser() for path in named if path is not None] or [Path("datasets")]


def _find_all(places: list[Path], stems: tuple[str, ...]) -> list[Path] | None:
    """Return the first place's files with these stems, gzipped or not, if it has them all."""
    for place in places:
        found = []
        for stem in stems:
            both = (place / f"{stem}.gz", place / stem)
            found += [path for path in both if is_file(path)][:1]
        if len(found) == len(stems):
            return found
    return None


def _from_torchvision(name: str, data: Any, split: Split, kwargs: dict[str, Any]) -> Any:
    """Open a torchvision set in the first root that has it; download it only on request."""
    roots = _roots(data, split)
    for root in roots:
        try:
            return _torchvision(name, root, download=False, **kwargs)
        except RuntimeError:  # torchvision's word for: not there, or not whole
            continue
    if setting(data, "download", False):
        return _torchvision(name, _roots(data, "train")[0], download=True, **kwargs)
    raise UserError(
        f"{name} is not in {' or '.join(map(str, roots))} (or is incomplete there). Set "
        "data.train_path to the folder that holds it, or data.download=true to fetch it."
    )


def _torchvision(name: str, root: Path, *, download: bool, **kwargs: Any) -> Any:
    import torchvision

    try:
        return getattr(torchvision.datasets, name)(root, download=download, **kwargs)
    except (RuntimeError, OSError) as error:
        if not download and isinstance(error, RuntimeError):
            raise
        verb = "download" if download else "read"
        raise UserError(f"cannot {verb} {name} in {root}: {error}") from error
