"""The labelled training images of a run as features, which new images are compared with."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from solo_registry.data.sets import ImageSet
from solo_registry.evaluation.features import chosen_images, collect, loader_of
from solo_registry.inference.encoder import Encoder
from solo_registry.metrics.protocol import Features


@dataclass(frozen=True)
class Bank:
    """Features of a run's training images.

    Attributes:
        images: the images, at most `evaluation.max_train`.
        features: their features and labels, in the same order.
    """

    images: ImageSet
    features: Features


def training_bank(encoder: Encoder, console: Console) -> Bank:
    """Compute the features of the run's own training images, as its evaluation does.

    Raises:
        UserError: the images are not there, or have changed since the run.
    """
    data = encoder.run.data()
    images = chosen_images(data.train_set, encoder.run.cfg.evaluation.max_train, data.seed)
    loader = loader_of(images, data)
    return Bank(images, collect(encoder.embedding, loader, "training images", console))
