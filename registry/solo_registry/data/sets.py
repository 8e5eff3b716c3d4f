"""The types of data sets, and how a set is opened by its name.

A data set is a function `(data, split) -> ImageSet | None` in `DATASETS`. `data` is the config's
`data` section, and `None` means that the set has no such split.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from solo_registry.catalog.registry import DATASETS
from solo_registry.config.data_schema import DataConfig
from solo_registry.config.keys import check_given
from solo_registry.config.settings import setting
from solo_registry.data.subset import chosen_images, stratified
from solo_registry.errors import UserError

Split = Literal["train", "val"]
UNLABELLED = -1
# weights of red, green and blue in the luminance
LUMA = (0.299, 0.587, 0.114)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SetInfo:
    """Facts about a data set, the same for its splits.

    Args:
        name: its name in `DATASETS`.
        num_classes: number of classes, 0 without labels.
        channels: channels of every image.
        image_size: height and width in pixels; None where they vary.
        mean: per channel, of pixels in [0, 1]; used alike in pretraining and evaluation.
        std: per channel, of pixels in [0, 1].
        class_names: one name per class.
    """

    name: str
    num_classes: int
    channels: int
    image_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]

    def with_statistics(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> SetInfo:
        """Return a copy with another mean or std; None keeps what is here.

        Args:
            mean: one number, or one per channel.
            std: one number, or one per channel, each above 0.

        Raises:
            UserError: the number of values is neither 1 nor the number of channels.
        """
        return replace(
            self,
            mean=self.mean if mean is None else self._per_channel("mean", mean),
            std=self.std if std is None else self._per_channel("std", std),
        )

    def _per_channel(self, key: str, values: Sequence[float]) -> tuple[float, ...]:
        if len(values) not in (1, self.channels) or (key == "std" and min(values) <= 0):
            raise UserError(
                f"augmentations {key}={list(values)} does not suit data set '{self.name}': it "
                f"needs 1 number or {self.channels}, one per channel"
                f"{', above 0' if key == 'std' else ''}"
            )
        return tuple(float(value) for value in values) * (self.channels // len(values))


class ImageSet(Dataset[tuple[Tensor, int]], ABC):
    """Images with labels, before any augmentation.

    Attributes:
        info: facts that hold for every image.
        targets: (N,) int64 labels, -1 where an image has none.
        indices: positions of these images in the whole data set; None means all.
    """

    info: SetInfo
    targets: Tensor
    indices: list[int] | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image `index`, uint8 (C, H, W), and its label."""

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> ImageSet:
        """Return a set of the images at `indices`, in that order."""

    @property
    def blocks(self) -> Tensor | None:
        """The block that each image is fetched with, (N,) int64; None where there are no blocks."""
        return None

    def sample(self, count: int) -> list[int]:
        """Return up to `count` images that stand for the set, evenly spaced."""
        return torch.linspace(0, len(self) - 1, min(count, len(self))).long().tolist()

    def shorter_side(self, index: int) -> int:
        """Return the smaller of height and width of image `index`, in pixels."""
        return min(self[index][0].shape[1:])

    def digest(self) -> str:
        """Return a hash of the images and labels in hex digits, the same on every machine.

        This default reads every image. A set with a cheaper way overrides it.
        """
        content = hashlib.sha256()
        for image, target in (self[index] for index in range(len(self))):
            content.update(f"{tuple(image.shape)} {target}".encode())
            content.update(image.contiguous().numpy().tobytes())
        return content.hexdigest()

    def checked(self) -> ImageSet:
        """Check every image before training, if images can be broken; see `FolderSet`."""
        return self

    def require_all_classes(self) -> None:
        """Refuse a training set in which a class has no image, if classes are folders."""


class TensorSet(ImageSet):
    """Images of one size, held in memory.

    Args:
        info: facts about the set.
        images: (N, C, H, W) uint8.
        targets: (N,) int64.

    >>> info = SetInfo("dots", 1, 1, 4, (0.5,), (0.5,), ("dot",))
    >>> dots = TensorSet(info, torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.zeros(3))
    >>> len(dots), dots[2][0].shape, len(dots.subset([0, 2]))
    (3, torch.Size([1, 4, 4]), 2)
    """

    def __init__(self, info: SetInfo, images: Tensor, targets: Tensor) -> None:
        self.info = info
        self.images = images
        self.targets = targets.long()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])

    def subset(self, indices: Sequence[int]) -> TensorSet:
        """Return a set of the images at `indices`, in that order."""
        chosen = torch.as_tensor(indices)
        return TensorSet(self.info, self.images[chosen], self.targets[chosen])

    def digest(self) -> str:
        """Return a hash of all pixels and labels in hex digits."""
        content = hashlib.sha256(str(tuple(self.images.shape)).encode())
        for part in (*torch.split(self.images, 4096), self.targets):
            content.update(part.contiguous().numpy().data)
        return content.hexdigest()


def open_set(data: Any, split: Split) -> ImageSet | None:
    """Open one split of the data set that the config names: all its images, none checked yet.

    Args:
        data: the config's `data` section, or any object with its keys as attributes: `dataset`, and
            those of `train_path`, `val_path`, `download`, `no_labels`, `on_error`, `channels`,
            `class_list`, `train_split` that the set needs.
        split: "train" or "val".

    Returns:
        The split; None if the set has no "val".

    Raises:
        UserError: unknown set, missing files, or a key that the set does not know.
    """
    check_given(data, DataConfig, "data.", "channels")
    load = DATASETS.get(data.dataset)
    for word in DATASETS.about(data.dataset).unread.split():
        key, _, value = word.partition("=")
        given = setting(data, key, None)
        if given is not None and value in ("", str(given)):
            raise UserError(f"data set '{data.dataset}' does not use data.{key}={given}")
    images: ImageSet | None = load(data, split)
    return images


def prepared(images: ImageSet, data: Any, split: Split) -> ImageSet:
    """Check, convert and select the images of an opened set, as the config says.

    Args:
        images: the result of `open_set`.
        data: the config's `data` section: `check_files`, `channels`, `fraction`, `long_tail`.
        split: "train" or "val". `long_tail` and `fraction` apply to "train" only and keep the same
            images in every run. `fraction` keeps this share of each class; -1 keeps all.

    Raises:
        UserError: unreadable files, or a value out of its range.
    """
    check_given(data, DataConfig, "data.", "fraction")
    if setting(data, "check_files", True):
        images = images.checked()
    if isinstance(images, TensorSet) and (channels := setting(data, "channels", None)):
        images = to_channels(images, channels)
    if split == "train":
        images.require_all_classes()
        indices = chosen_images(images.targets, data)
        images = images if indices is None else part(images, indices)
    return images


def load_set(data: Any, split: Split) -> ImageSet | None:
    """Open one split and prepare it; see `open_set` and `prepared`."""
    images = open_set(data, split)
    return None if images is None else prepared(images, data, split)


def to_channels(images: TensorSet, channels: int) -> TensorSet:
    """Convert to grey images (1) or RGB images (3); copy nothing if they have these channels."""
    info = images.info
    if info.channels == channels:
        return images
    if {info.channels, channels} != {1, 3}:
        raise UserError(f"data.channels={channels}: '{info.name}' has {info.channels} channels")
    if channels == 3:
        info = replace(info, channels=3, mean=info.mean * 3, std=info.std * 3)
        return TensorSet(info, images.images.expand(-1, 3, -1, -1), images.targets)
    weights = torch.tensor(LUMA).view(3, 1, 1)
    # in pieces, because a float copy of all of STL-10 would take 11 GB
    pixels = torch.cat(
        [
            (part * weights).sum(1, keepdim=True).round_().to(torch.uint8)
            for part in torch.split(images.images, 1024)
        ]
    )
    return TensorSet(grey_info(info), pixels, images.targets)


def grey_info(info: SetInfo) -> SetInfo:
    """Return `info` of the same images in grey.

    The mean is exact. The std assumes fully correlated channels, so it is a little too large.

    >>> round(grey_info(SetInfo("x", 0, 3, None, IMAGENET_MEAN, IMAGENET_STD, ())).mean[0], 3)
    0.459
    """
    mean, std = (
        sum(weight * value for weight, value in zip(LUMA, values, strict=True))
        for values in (info.mean, info.std)
    )
    return replace(info, channels=1, mean=(mean,), std=(std,))


def part(images: ImageSet, positions: list[int]) -> ImageSet:
    """Return the images at `positions`; `indices` holds their places in the whole data set."""
    chosen, known = images.subset(positions), images.indices
    chosen.indices = positions if known is None else [known[position] for position in positions]
    return chosen


def copied(images: ImageSet, copies: int) -> ImageSet:
    """Return a set that holds all images `copies` times: image i at i, N + i, 2 N + i, ...

    >>> info = SetInfo("dots", 2, 1, 4, (0.5,), (0.5,), ("dot", "spot"))
    >>> dots = TensorSet(info, torch.zeros(3, 1, 4, 4), torch.tensor([0, 1, 1]))
    >>> copied(dots, 2).targets.tolist()
    [0, 1, 1, 0, 1, 1]
    """
    return images if copies == 1 else images.subset([*range(len(images))] * copies)


def hold_out(images: ImageSet, fraction: float) -> tuple[ImageSet, ImageSet]:
    """Split off a share of each class, the same images in every run: (kept, held out).

    At least one image of each class is kept, so a class with a single image keeps it.

    Raises:
        UserError: nothing is left to keep, or nothing to hold out.

    >>> info = SetInfo("dots", 2, 1, 4, (0.5,), (0.5,), ("dot", "spot"))
    >>> dots = TensorSet(info, torch.zeros(20, 1, 4, 4), torch.arange(20) % 2)
    >>> [split.targets.bincount().tolist() for split in hold_out(dots, 0.2)]
    [[8, 8], [2, 2]]
    """
    held = stratified(images.targets, fraction, leave=1)
    if not held:
        raise UserError(
            f"data.validation_fraction={fraction} can hold no image out: each class of "
            f"'{images.info.name}' has one image only, and training needs it"
        )
    if round(len(images) * fraction) >= len(images):
        raise UserError(
            f"data.validation_fraction={fraction} of {len(images)} images leaves none to train on"
        )
    kept = sorted(set(range(len(images))) - set(held))
    return part(images, kept), part(images, held)


def with_info(images: ImageSet, info: SetInfo) -> ImageSet:
    """Return the same images under another `info`; nothing is copied."""
    renamed = copy(images)
    renamed.info = info
    return renamed
