"""Values of the keys that a config leaves to the images, each with its reason.

They follow from the number, the labels and the sizes of the images and from the keys that the
config does give, so that the same folder gets the same values on every machine. docs/data.md shows
what they were measured to reach.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_registry.catalog.registry import METHODS
from solo_registry.config.devices import count_processes
from solo_registry.config.resolve import resolve
from solo_registry.config.undecided import undecided
from solo_registry.data.opened import OpenedData, open_data
from solo_registry.data.subset import chosen_images, stratified

SAMPLE = 64  # images whose sizes are read
FEW, MANY = 5_000, 20_000  # images
SMALL = 64  # pixels; up to here ResNets get a stem for small images
RATES = {"lars": (0.3, 0.1), "sgd": (0.1, 0.1)}  # of the backbone and the probe, per 256 images
STEP_RATES = (1e-3, 1e-2)  # those of Adam and AdamW for a step, whatever its number of images


@dataclass(frozen=True)
class Facts:
    """What is chosen by.

    Attributes:
        targets: (N,) labels of the images that the config keeps, before any is held out.
        has_val: whether there are validation images of their own.
        side: the shorter side in pixels, the median of a sample.
    """

    targets: Tensor
    has_val: bool
    side: int

    @classmethod
    def of(cls, opened: OpenedData, data: Any) -> Facts:
        """Look at opened images.

        Args:
            opened: the images.
            data: the config's `data` section.
        """
        images = opened.train
        chosen = chosen_images(images.targets, data)
        sides = []
        for index in images.sample(SAMPLE):
            with contextlib.suppress(Exception):  # a broken file is told of when all are checked
                sides.append(images.shorter_side(index))
        kept = images.targets if chosen is None else images.targets[chosen]
        return cls(kept, opened.val is not None, statistics.median_low(sides) if sides else SMALL)


def completed(cfg: DictConfig, opened: OpenedData) -> tuple[DictConfig, str]:
    """Fill in the digest of a resolved config's images and what it leaves to them.

    Args:
        cfg: the resolved config; it is not changed.
        opened: its images.

    Returns:
        The config, resolved again; and the values with their reasons, a line each, or "".

    Raises:
        UserError: the values do not fit those that the config gives.
    """
    cfg = cfg.copy()
    cfg.data.digest = opened.digest
    left = undecided(cfg)
    if not left:
        return cfg, ""
    choice = Choice(cfg, facts := Facts.of(opened, cfg.data))
    lines = []
    for name, choose in choice.ways.items():
        for key in (key for key in left if key.startswith(name) or key.endswith(name)):
            value, reason = choose()
            OmegaConf.update(cfg, key, value)
            lines.append(f"  {f'{key}={value}':<34} {reason}")
    head = f"chosen by the {len(facts.targets)} images (set a key to choose otherwise):"
    return resolve(cfg), "\n".join([head, *dict.fromkeys(lines)])


def share_to_hold_out(cfg: DictConfig, opened: OpenedData) -> float:
    """Return what `data.validation_fraction=null` means for opened images."""
    if opened.val is not None:
        return 0.0
    return Choice(cfg, Facts.of(opened, cfg.data)).validation_fraction()[0]


class Planned:
    """Completes many configs before any runs; opens data once that several configs name.

    It keeps what it opens: the files' names, or the pixels of a set in memory.

    >>> cfg = OmegaConf.create({"data": {"dataset": "digits", "digest": None}, "augmentations": []})
    >>> len(Planned().completed(cfg).data.digest)
    16
    """

    def __init__(self) -> None:
        self._known: dict[str, OpenedData] = {}

    def completed(self, cfg: DictConfig) -> DictConfig:
        """Return a resolved config with its data's digest and all that the images decide."""
        key = OmegaConf.to_yaml(cfg.data)
        if key not in self._known:
            self._known[key] = open_data(cfg.data)
        return completed(cfg, self._known[key])[0]


class Choice:
    """One choice after the other: a later one sees what the earlier ones have written into `cfg`.

    Args:
        cfg: the config.
        facts: of its images.
    """

    def __init__(self, cfg: DictConfig, facts: Facts) -> None:
        self.cfg, self.facts = cfg, facts
        self.method = METHODS.get(cfg.method)
        self.ways: dict[str, Callable[[], tuple[Any, str]]] = {
            "data.validation_fraction": self.validation_fraction,
            "crop_size": self.crop_size,
            "backbone.name": self.backbone,
            "optimizer.name": self.optimizer,
            "optimizer.batch_size": self.batch_size,
            "optimizer.lr": lambda: self.rate(0),
            "optimizer.classifier_lr": lambda: self.rate(1),
            "max_epochs": self.max_epochs,
            "scheduler.warmup_epochs": self.warmup_epochs,
        }

    @property
    def images(self) -> int:
        """Number of images that an epoch trains on."""
        share = self.cfg.data.validation_fraction
        held = stratified(self.facts.targets, share, leave=1) if share else []
        return (len(self.facts.targets) - len(held)) * int(self.cfg.data.copies)

    def validation_fraction(self) -> tuple[float, str]:
        """Hold out enough for a standard error of some points, but no more than 10,000 images."""
        if self.facts.has_val:
            return 0.0, "there are validation images"
        counts = self.facts.targets[self.facts.targets >= 0].bincount()
        if int((counts > 0).sum()) < 2 or int(counts.max()) < 2:
            return 0.0, "without labels of two classes no accuracy can be measured"
        total = len(self.facts.targets)
        share = 0.3 if total < 300 else min(0.2, round(10_000 / total, 4))
        held = len(stratified(self.facts.targets, share, leave=1))
        return share, f"no data.val_path: {held} images, a share of each class, are the test images"

    def crop_size(self) -> tuple[int, str]:
        """Take the images' own size, up to what their number can pay for."""
        side = self.facts.side
        most = 96 if self.images < FEW else 224
        if side > most:
            return most, f"the images have {side} pixels; larger views would make it slow"
        return max(8, side // 4 * 4), f"the images have {side} pixels at their shorter side"

    def backbone(self) -> tuple[str, str]:
        """Take a network that can be trained on a CPU where the images are few or small."""
        size, many = self.cfg.augmentations[0].crop_size, self.images >= MANY
        if getattr(self.method, "TRANSFORMER", False):
            return ("vit_tiny", "vit_small")[many], f"{self.cfg.method} needs a vision transformer"
        if size <= SMALL:
            names = ("resnet10_narrow", "resnet18")
        else:
            names = ("resnet18_narrow" if self.images < FEW else "resnet18", "resnet50")
        return names[many], f"for {self.images} training images and views of {size} pixels"

    def optimizer(self) -> tuple[str, str]:
        """AdamW needs no rate tuned to the batch; LARS is made for batches of thousands."""
        return "adamw", "learns in few steps of small batches"

    def batch_size(self) -> tuple[int, str]:
        """Take at least four batches an epoch, where they have 16 images."""
        share = max(1, self.images // count_processes(self.cfg))
        largest = 256 if self.cfg.augmentations[0].crop_size <= SMALL else 128
        size = min(power_of_two(share), max(16, min(largest, power_of_two(share / 4))))
        unit = getattr(self.method, "batch_unit", lambda cfg: 1)(self.cfg)
        if share >= unit:
            size = min(-(-size // unit), share // unit) * unit
        whole = f" of a multiple of {unit} images" if unit > 1 else ""
        return size, f"{share // size} steps an epoch{whole}"

    def rate(self, which: int) -> tuple[float, str]:
        """Return a learning rate, given per 256 images of a step as the config wants it."""
        cfg, name = self.cfg, self.cfg.optimizer.name
        if name in RATES:
            return RATES[name][which], f"usual for {name}"
        step = cfg.optimizer.batch_size * count_processes(cfg) * cfg.accumulate_grad_batches
        rate = STEP_RATES[which]
        return float(f"{rate * 256 / step:.4g}"), f"{rate:g} a step, whatever its number of images"

    def max_epochs(self) -> tuple[int, str]:
        """Take more epochs where there are fewer images, so that there are steps enough."""
        epochs = max(15, min(150, round(1000 / self.images**0.5)))
        step = self.cfg.optimizer.batch_size * count_processes(self.cfg)
        return epochs, f"{epochs * (self.images // step)} steps; more epochs learn more"

    def warmup_epochs(self) -> tuple[float, str]:
        """Take a share that leaves most of the training at its full rate."""
        return self.cfg.max_epochs / 10, "a tenth of max_epochs"


def power_of_two(number: float) -> int:
    """Return the largest power of two up to a number, at least 1.

    >>> power_of_two(100), power_of_two(0.5)
    (64, 1)
    """
    return 1 << max(0, int(number).bit_length() - 1)
