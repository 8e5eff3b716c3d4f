"""The order of the images and their views, as functions of (seed, epoch, index) alone.

Nothing here depends on earlier draws, on the number of worker processes, or on the global random
state. So a run that is killed and resumed sees the same batches as an uninterrupted run.
"""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from solo_registry.data.augment import Views
from solo_registry.data.draws import crops_of
from solo_registry.data.hashing import mix
from solo_registry.data.sets import ImageSet
from solo_registry.processes import SIGNALS

Item = tuple[Any, ...]  # index, views of (C, H, W), target; if asked for, crops (V, 5)
# indexes (N,), views of (N, C, H, W), targets (N,); if asked for, crops (N, V, 5)
LoaderBatch = list[Any]
Work = tuple[int, list[int]]  # an epoch, and which images a batch of it holds
WINDOW = 16_384  # images within which an epoch of blocks is shuffled


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) for one rank; each epoch has a new order of all images.

    The order is a function of (seed, epoch). Ranks take turns. So the global batch of several ranks
    holds the same images as the batch of one process with the same global batch size. If
    `world_size` does not divide `length`, the last images of the epoch's order are left out.

    Args:
        length: number of images.
        seed: the run's seed.
        rank: this process, in [0, world_size).
        world_size: number of processes.
        blocks: (length,) the block of each image, where images are fetched by blocks: the order is
            then that of `in_window`. None shuffles all images.
        window: see `in_window`.

    >>> sampler = EpochSampler(5, seed=0, rank=1, world_size=2)
    >>> sampler.set_epoch(3)
    >>> len(sampler), {epoch for epoch, index in sampler}
    (2, {3})
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        blocks: Tensor | None = None,
        window: int = 0,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.blocks = blocks
        self.window = window
        self.epoch = 0
        self.start = 0  # number of images of this rank that the next iteration skips

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch
        generator = torch.Generator().manual_seed(mix(b"order", self.seed, epoch))
        order = torch.randperm(self.length, generator=generator)
        if self.blocks is not None:
            order = in_window(order, self.blocks, self.window, generator)
        end = len(self) * self.world_size
        for index in order[self.rank : end : self.world_size][self.start :].tolist():
            yield epoch, index


def in_window(order: Tensor, blocks: Tensor, window: int, generator: torch.Generator) -> Tensor:
    """Bring the images of a block close to each other in a shuffled order.

    The blocks come in a random order, and images are shuffled inside them. Then each image is put
    off by a random number of places, from 0 to `window`, which is much like drawing from a buffer
    of `window` images. So an image comes at most `window` places before or after its block's turn.

    Args:
        order: (N,) all images, shuffled.
        blocks: (N,) the block of each image.
        window: in images; 0 leaves block after block.
        generator: draws the order of the blocks, then the places.

    >>> blocks = torch.tensor([0, 0, 0, 1, 1, 1])
    >>> order = in_window(torch.randperm(6), blocks, 0, torch.Generator().manual_seed(0))
    >>> blocks[order].unique_consecutive().numel()
    2
    """
    turns = torch.randperm(int(blocks.max()) + 1, generator=generator)
    order = order[torch.argsort(turns[blocks[order]], stable=True)]
    late = torch.rand(len(order), generator=generator, dtype=torch.float64) * window
    return order[torch.argsort(torch.arange(len(order)) + late, stable=True)]


class PretrainSet(Dataset[Item]):
    """Draws the views of an image: (epoch, index) -> (index, views, label).

    Args:
        images: the images.
        views: what to draw from each.
        seed: the run's seed.
        crops: whether an item also has the crops of its views, `crops_of` (V, 5).
    """

    def __init__(self, images: ImageSet, views: Views, seed: int, crops: bool = False) -> None:
        self.images = images
        self.views = views
        self.seed = seed
        self.crops = crops

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> Item:
        """Return the index, the views, float32 (C, H, W) each, and the label or -1."""
        (item,) = self.__getitems__([epoch_and_index])
        return item

    def __getitems__(self, batch: list[tuple[int, int]]) -> list[Item]:
        """Return a batch of items, all of one epoch; `DataLoader` calls this instead of items."""
        epoch = batch[0][0]
        indexes = [index for _, index in batch]
        images, targets = zip(*(self.images[index] for index in indexes), strict=True)
        with one_thread():
            drawn = self.views.draw(self.seed, epoch, indexes, [x.shape[-2:] for x in images])
            views = self.views(images, drawn)
        more = [torch.from_numpy(crops_of(drawn))] if self.crops else []
        return list(zip(indexes, views, targets, *more, strict=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread, because several threads are slower on one small image."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def leave_signals(worker: int) -> None:
    """Let a loader's worker ignore the signals that SLURM sends to all processes of a job.

    The process that trains answers them, for which it still needs its workers. They end with it.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Resumable:
    """Counts an epoch's batches; what `state_dict` returns is part of Lightning's checkpoints."""

    sampler: EpochSampler
    batch_size: Any
    done = 0
    start = 0

    def __len__(self) -> int:
        return len(self.sampler) // int(self.batch_size)

    def begin(self) -> None:
        """Start an epoch, at the batch that `load_state_dict` asked for."""
        self.done, self.start = self.start, 0
        self.sampler.start = self.done * int(self.batch_size)

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of the epoch are done."""
        return {"batches": self.done % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Skip as many batches at the next iteration as `state` says are done."""
        self.done = self.start = state["batches"]


class ResumableLoader(Resumable, DataLoader[Any]):
    """A DataLoader over an `EpochSampler` that can go on in the middle of an epoch.

    The workers start at the first batch, not at `iter()`. On resume, Lightning makes the iterator
    before it sets the epoch, so workers started by `iter()` would fetch images of epoch 0.
    """

    sampler: EpochSampler
    batch_size: int

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the epoch's batches, or those that are left after `load_state_dict`."""
        self.begin()
        if self._iterator is not None:
            # PyTorch draws a seed when it starts workers, and where there are none, but not for
            # workers that stay: with this draw, what a network draws depends on none of that
            torch.empty((), dtype=torch.int64).random_()
        for batch in super().__iter__():
            self.done += 1
            yield batch


class EpochLoader(Resumable, ABC):
    """Base of loaders that make whole batches themselves, without a DataLoader.

    Args:
        sampler: yields the images of each epoch in order.
        batch_size: images per batch; the last incomplete batch of an epoch is dropped.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[LoaderBatch]:
        """Yield the epoch's batches, or those that are left after `load_state_dict`."""
        self.begin()
        for batch in self.batches(self._work()):
            self.done += 1
            yield batch

    def _work(self) -> Iterator[Work]:
        order = list(self.sampler)
        for start in range(0, len(order) - self.batch_size + 1, self.batch_size):
            part = order[start : start + self.batch_size]
            yield part[0][0], [index for _, index in part]

    @abstractmethod
    def batches(self, work: Iterator[Work]) -> Iterator[LoaderBatch]:
        """Yield a batch, as `LoaderBatch` says, for each item of `work`."""
