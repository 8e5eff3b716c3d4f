"""Loaders that make the views of a whole batch at once, on the training device.

`draws` draws each image's views, as for the other loaders. Only the arithmetic of `show` differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from solo_registry.data.augment import Views
from solo_registry.data.draws import crops_of
from solo_registry.data.sampling import EpochLoader, EpochSampler, LoaderBatch, Work
from solo_registry.data.sets import ImageSet, TensorSet
from solo_registry.data.show import show
from solo_registry.errors import UserError


def in_memory(images: ImageSet) -> TensorSet:
    """Return `images`, typed as the set in memory that it is.

    Raises:
        UserError: the images are read from files, whose sizes vary.
    """
    if isinstance(images, TensorSet):
        return images
    raise UserError(
        f"data.format=on_device needs a set in memory, and '{images.info.name}' is read "
        "from files: data.format=dali or image_folder load them"
    )


class DeviceLoader(EpochLoader):
    """Batches of views made on the training device, from a set that is kept there.

    Args:
        images: a set in memory; all of it is copied to `device`.
        views: what to show.
        seed: the run's seed.
        sampler: yields the images of each epoch in order.
        batch_size: images per batch.
        device: where the views are made.
        crops: whether a batch also has the crops of its views, `crops_of` (N, V, 5).
    """

    def __init__(
        self,
        images: TensorSet,
        views: Views,
        seed: int,
        *,
        sampler: EpochSampler,
        batch_size: int,
        device: torch.device,
        crops: bool = False,
    ) -> None:
        super().__init__(sampler, batch_size)
        self.views, self.seed, self.device, self.crops = views, seed, device, crops
        self.images, self.targets = images.images, images.targets

    def batches(self, work: Iterator[Work]) -> Iterator[LoaderBatch]:
        """Yield the batches of `work`."""
        self.images, self.targets = self.images.to(self.device), self.targets.to(self.device)
        for item in work:
            yield whole_batch(self.images, self.targets, self.views, self.seed, item, self.crops)


class BatchSet(Dataset[Any]):
    """The batches of `DeviceLoader` as a data set for worker processes.

    On a CPU it is faster if each core makes a batch of its own than if all cores share one batch.

    Args:
        images: a set in memory.
        views: what to show.
        seed: the run's seed.
        crops: whether a batch also has the crops of its views, `crops_of` (N, V, 5).
    """

    def __init__(self, images: TensorSet, views: Views, seed: int, crops: bool = False) -> None:
        self.images, self.views, self.seed, self.crops = images, views, seed, crops

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, keys: list[tuple[int, int]]) -> LoaderBatch:
        """Return the batch of these (epoch, index) pairs, all of one epoch; see `collated`."""
        item = keys[0][0], [index for _, index in keys]
        images, targets = self.images.images, self.images.targets
        return whole_batch(images, targets, self.views, self.seed, item, self.crops)


def collated(batch: LoaderBatch) -> LoaderBatch:
    """Return a batch of `BatchSet` unchanged; the `collate_fn` of its DataLoader."""
    return batch


def whole_batch(
    images: Tensor, targets: Tensor, views: Views, seed: int, work: Work, crops: bool = False
) -> LoaderBatch:
    """Return a batch, as `LoaderBatch` says, on the images' device.

    Args:
        images: (M, C, H, W) uint8, the whole set.
        targets: (M,) its labels.
        views: what to show.
        seed: the run's seed.
        work: the epoch, and which images.
        crops: whether the batch has the crops of its views.
    """
    epoch, indexes = work
    drawn = views.draw(seed, epoch, indexes, [tuple(images.shape[-2:])] * len(indexes))
    rows = torch.tensor(indexes).to(images.device, non_blocking=True)  # else it waits for the GPU
    chosen = images[rows]
    pairs = zip(views.views, drawn, strict=True)
    shown = [show(view, chosen, draws) for view, draws in pairs]
    more = [torch.from_numpy(crops_of(drawn)).to(rows.device, non_blocking=True)] if crops else []
    return [rows, shown, targets[rows], *more]
