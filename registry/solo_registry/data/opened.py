"""The images that a config names: their digest, and how many there are."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from solo_registry.config.settings import setting
from solo_registry.data.sets import ImageSet, open_set
from solo_registry.errors import UserError


@dataclass(frozen=True)
class OpenedData:
    """The images that a config names, before any is checked or selected.

    Attributes:
        train: all training images.
        val: all validation images; None if there are none, or if they are held out from `train`.
    """

    train: ImageSet
    val: ImageSet | None

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the images and labels, the same on every machine: a "d" and 15 hex digits.

        It begins with a letter, so that no program reads it as a number.
        """
        splits = [self.train.digest(), "" if self.val is None else self.val.digest()]
        return f"d{hashlib.sha256(' '.join(splits).encode()).hexdigest()[:15]}"

    def counts(self) -> dict[str, dict[str, int]]:
        """Count the images by split and class name ("" without labels), to report changes."""
        return {
            split: dict(Counter(class_name(images, label) for label in images.targets.tolist()))
            for split, images in (("train", self.train), ("val", self.val))
            if images is not None
        }


def class_name(images: ImageSet, label: int) -> str:
    """Return the class name of a label; "" for the label of an unlabelled image."""
    names = images.info.class_names
    return names[label] if 0 <= label < len(names) else "" if label < 0 else str(label)


def open_data(data: Any) -> OpenedData:
    """Open the images that a config's `data` section names.

    With `data.validation_fraction` the validation images are held out from train, and the test
    images are not opened.

    Raises:
        UserError: see `open_set`.
    """
    train = open_set(data, "train")
    if train is None:
        raise UserError(f"data set '{data.dataset}' has no training images")
    return OpenedData(
        train, None if setting(data, "validation_fraction", 0) else open_set(data, "val")
    )
