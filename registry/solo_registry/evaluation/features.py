"""Features of a run's backbone: of both splits, and of two views of test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from solo_registry.data.hashing import mix
from solo_registry.data.module import PretrainDataModule, eval_loader
from solo_registry.data.sampling import PretrainSet
from solo_registry.data.sets import ImageSet
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.histogram import SimilarityHistogram, similarity_histogram
from solo_registry.metrics.protocol import Features
from solo_registry.training.divergence import check_outputs

PAIRED_IMAGES = 2000  # test images whose two views are compared
PIXELS = 32  # larger images are averaged down to this size for the raw-pixel baseline
BATCH = 256
Embedding = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Images (N, C, H, W) -> features and projections, both (N, D) on the CPU."""


@dataclass
class Measured:
    """Features of one backbone (or of raw pixels) on both splits, and two views of test images."""

    train: Features
    test: Features
    views: tuple[Tensor, Tensor]
    histogram: SimilarityHistogram | None = None


@dataclass
class Splits:
    """The loaders of both splits. Their processes stay from one backbone to the next.

    Attributes:
        data: the images.
        train: loads at most `evaluation.max_train` training images.
        test: loads the held-out images; None without any.
    """

    data: PretrainDataModule
    train: DataLoader[Any]
    test: DataLoader[Any] | None

    @classmethod
    def of(cls, data: PretrainDataModule, evaluation: DictConfig) -> Splits:
        """Return the splits of a config's `evaluation` section."""
        train = chosen_images(data.train_set, evaluation.max_train, data.seed)
        test = None if data.val_set is None else loader_of(data.val_set, data)
        return cls(data, loader_of(train, data), test)


def measure(model: BaseMethod | None, splits: Splits, label: str, console: Console) -> Measured:
    """Compute features of both splits and of two views; `model=None` gives raw pixels."""
    train, test = features_of(model, splits, label, console)
    data = splits.data
    embed = embedding(model, data.eval_device, label)
    tested = data.val_set if data.val_set is not None else data.train_set
    pairs = PretrainSet(tested, data.views, data.seed)
    keys: Any = [(0, index) for index in range(min(len(tested), PAIRED_IMAGES))]
    first, second, targets = [], [], []
    for start in range(0, len(keys), BATCH):
        items = pairs.__getitems__(keys[start : start + BATCH])
        first.append(embed(torch.stack([views[0] for _, views, _ in items])))
        # a method of one view, such as MAE, has no second view to compare
        second.append(embed(torch.stack([views[:2][-1] for _, views, _ in items])))
        targets += [target for _, _, target in items]
    feats1, z1 = (torch.cat(part) for part in zip(*first, strict=True))
    feats2, z2 = (torch.cat(part) for part in zip(*second, strict=True))
    histogram = None if model is None else similarity_histogram(z1, z2, torch.tensor(targets))
    return Measured(train, test, (feats1, feats2), histogram)


def embedding(model: BaseMethod | None, device: torch.device, label: str) -> Embedding:
    """Return the function from images to features and projections, both (N, D) on the CPU.

    The function raises a UserError that names `label` if a feature is not finite.
    """
    if model is not None:
        model = model.to(device).eval()

    @torch.inference_mode()
    def embed(X: Tensor) -> tuple[Tensor, Tensor]:
        if model is None:
            small = F.adaptive_avg_pool2d(X, PIXELS) if X.shape[-1] > PIXELS else X
            return small.flatten(1), small.flatten(1)
        out = model(X.to(device))
        feats, z = out["feats"].float().cpu(), out.get("z", out["feats"]).float().cpu()
        check_outputs(label, feats, z)
        return feats, z

    return embed


def features_of(
    model: BaseMethod | None, splits: Splits, label: str, console: Console
) -> tuple[Features, Features]:
    """Compute features of train and test images; without test images, train is used for both."""
    embed = embedding(model, splits.data.eval_device, label)
    train = collect(embed, splits.train, label, console)
    if splits.test is None:  # without held-out images, only the geometry is measured
        return Features(train.feats, torch.full_like(train.targets, -1)), train
    return train, collect(embed, splits.test, label, console)


def chosen_images(images: ImageSet, most: int, seed: int) -> ImageSet:
    """Return at most `most` images, drawn from the seed, in their order."""
    if len(images) <= most:
        return images
    generator = torch.Generator().manual_seed(mix(b"evaluate", seed))
    return images.subset(sorted(torch.randperm(len(images), generator=generator)[:most].tolist()))


def loader_of(images: ImageSet, data: PretrainDataModule) -> DataLoader[Any]:
    """Return a loader of images as `data` loads them for evaluation."""
    return eval_loader(
        images,
        crop_size=data.crop_size,
        batch_size=BATCH,
        num_workers=data.num_workers,
        device=data.eval_device,
    )


def collect(embed: Embedding, loader: DataLoader[Any], label: str, console: Console) -> Features:
    """Compute the features of a loader's images."""
    quiet = not console.is_terminal
    batches = track(loader, label, console=console, transient=True, disable=quiet)
    feats, targets = zip(*((embed(X)[0], y) for X, y in batches), strict=True)
    return Features(torch.cat(feats), torch.cat(targets))
