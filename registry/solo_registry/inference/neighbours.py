"""The images that are nearest to an image, among the training images or in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from solo_registry.data.folder import FolderSet
from solo_registry.data.pixels import decode
from solo_registry.data.sets import UNLABELLED, ImageSet
from solo_registry.errors import UserError
from solo_registry.inference.bank import training_bank
from solo_registry.inference.encoder import Encoder
from solo_registry.inference.files import Source, find_images
from solo_registry.metrics.neighbours import KNNVoter
from solo_registry.paths import as_text


@dataclass(frozen=True)
class Neighbour:
    """An image near another.

    Attributes:
        name: its path, or its number among the training images.
        label: its class; empty if unknown.
        similarity: cosine similarity of the features.
        image: uint8 (C, H, W).
    """

    name: str
    label: str
    similarity: float
    image: Tensor


def nearest_images(
    encoder: Encoder, image: str | Path, console: Console, k: int = 8, among: Source | None = None
) -> tuple[Tensor, list[Neighbour]]:
    """Find the images whose features have the largest cosine similarity to those of `image`.

    Args:
        encoder: the run's backbone.
        image: an image file.
        console: where progress is printed.
        k: how many.
        among: where to search; None means the run's training images. `image` itself is left out if
            it is among these files.

    Returns:
        The image, uint8 (C, H, W), and its neighbours, nearest first.

    Raises:
        UserError: an image that cannot be read, or fewer than `k` images to search.
    """
    query = find_images(image)
    if len(query.names) > 1:
        raise UserError(f"{image} holds {len(query.names)} images: name one of them")
    feats = encoder.embed(query, console).feats
    if among is None:
        bank = training_bank(encoder, console)
        names = [_name(bank.images, index) for index in range(len(bank.images))]
        rows, labels = bank.features.feats, bank.features.targets.tolist()
    else:
        embedded = encoder.embed(find_images(among), console)
        files = [embedded.files.path(index) for index in range(len(embedded.files.names))]
        others = [i for i, file in enumerate(files) if not file.samefile(query.path(0))]
        names, rows = [str(files[index]) for index in others], embedded.feats[others]
        labels = [UNLABELLED] * len(others)
    if not 1 <= k <= len(names):
        raise UserError(f"--k {k} must be from 1 to the {len(names)} images that are searched")
    # as each image is a class of its own, the classes that are found are the images
    search = KNNVoter(num_classes=len(names))
    similarity, found = search.nearest([(rows, torch.arange(len(names)))], feats, k)
    classes = encoder.info.class_names

    def pixels(index: int) -> Tensor:
        if among is None:
            return bank.images[index][0]
        return decode(Path(names[index]), encoder.channels)

    neighbours = [
        Neighbour(
            name=as_text(names[index]),
            label=classes[labels[index]] if labels[index] != UNLABELLED else "",
            similarity=value,
            image=pixels(index),
        )
        for value, index in zip(similarity[0].tolist(), found[0].tolist(), strict=True)
    ]
    return decode(query.path(0), encoder.channels), neighbours


def _name(images: ImageSet, index: int) -> str:
    if isinstance(images, FolderSet):
        return str(images.path(index))
    return f"training image {images.indices[index] if images.indices else index}"
