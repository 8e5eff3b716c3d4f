"""Which image comes when, and its views, as functions of (seed, epoch, index) alone.

Nothing here depends on what was drawn before, on the number of worker processes, or on the global
random state, so a run that is killed and resumed sees the batches that an unbroken run sees.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from solo_registry.data.augment import Views
from solo_registry.data.sets import ImageSet

Item = tuple[int, list[Tensor], int]


def mix(purpose: bytes, *numbers: int) -> int:
    """Hash a purpose and integers to 63 well-mixed bits, the same on every machine.

    Neighbouring seeds, epochs or indices give unrelated results, which adding them up would not.

    >>> mix(b"views", 5, 0, 1) == mix(b"views", 5, 1, 0)
    False
    """
    packed = struct.pack(f"<{len(numbers)}q", *numbers)
    digest = hashlib.blake2b(packed, digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "little") >> 1


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) for one rank; each epoch is a new order of all images.

    The order is a function of (seed, epoch). Ranks take turns, so the global batch of several ranks
    holds the same images as one process with a batch that much larger. Of a length that the ranks
    do not divide, the last images of the epoch's order are left out.

    Args:
        length: number of images.
        seed: the run's seed.
        rank: this process, in [0, world_size).
        world_size: number of processes.

    >>> sampler = EpochSampler(5, seed=0, rank=1, world_size=2)
    >>> sampler.set_epoch(3)
    >>> len(sampler), {epoch for epoch, index in sampler}
    (2, {3})
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0  # images of this rank to leave out at the next iteration's beginning

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        generator = torch.Generator().manual_seed(mix(b"order", self.seed, epoch))
        order = torch.randperm(self.length, generator=generator)
        end = len(self) * self.world_size
        for index in order[self.rank : end : self.world_size][self.start :].tolist():
            yield epoch, index


class PretrainSet(Dataset[Item]):
    """Draws the views of an image: (epoch, index) -> (index, views, label).

    Args:
        images: the images.
        views: what to draw from each.
        seed: the run's seed.
    """

    def __init__(self, images: ImageSet, views: Views, seed: int) -> None:
        self.images = images
        self.views = views
        self.seed = seed
        self._rng = random.Random()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Item:
        """Return the index, the views, float32 (C, H, W) each, and the label or -1."""
        epoch, index = epoch_and_index
        image, target = self.images[index]
        self._rng.seed(mix(b"views", self.seed, epoch, index))
        return index, self.views(image, self._rng), target

    def __getitems__(self, batch: list[tuple[int, int]]) -> list[Item]:
        """Return a batch of items; the DataLoader calls this where it can."""
        with one_thread():
            return [self[epoch_and_index] for epoch_and_index in batch]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: several only get in each other's way on one small image."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ResumableLoader(DataLoader[Any]):
    """A DataLoader over an `EpochSampler` that can go on in the middle of an epoch.

    The workers begin with the first batch, not with `iter()`: on resume, Lightning makes the
    iterator before it sets the epoch, and workers would fetch images of epoch 0. What `state_dict`
    returns is part of Lightning's checkpoints.
    """

    sampler: EpochSampler
    batch_size: int
    done = 0
    start = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the epoch's batches, or those that are left after `load_state_dict`."""
        self.done, self.start = self.start, 0
        self.sampler.start = self.done * self.batch_size
        for batch in super().__iter__():
            self.done += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of the epoch are done."""
        return {"batches": self.done % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after as many batches."""
        self.done = self.start = state["batches"]
