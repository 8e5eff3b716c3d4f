"""Views of a whole batch at once, on the training device, for sets in memory.

`draws` draws each image's views, as for the other loaders. Only the arithmetic differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from solo_registry.data import ops
from solo_registry.data.augment import View, Views
from solo_registry.data.draws import Draws
from solo_registry.data.sampling import EpochLoader, EpochSampler, LoaderBatch, Work
from solo_registry.data.sets import ImageSet, TensorSet
from solo_registry.errors import UserError


def show(view: View, images: Tensor, drawn: Draws) -> Tensor:
    """Make a view of each image of a batch, as drawn.

    The images are sorted by the order of their jitters. So all images with one order are one slice,
    small enough for the cache of a CPU.

    Args:
        view: the view.
        images: (N, C, H, W) uint8, on any device.
        drawn: what is random about each.

    Returns:
        (N, C, crop_size, crop_size) float32, normalised, on the same device.
    """
    codes = np.where(drawn.jitter, drawn.order @ 4 ** np.arange(drawn.order.shape[1]), -1)
    sorting = np.argsort(codes, kind="stable")
    codes = codes[sorting]

    def on_device(field: Any) -> Tensor:
        return torch.from_numpy(field).to(images.device, non_blocking=True)

    place = on_device(sorting)
    factors, sigma = on_device(drawn.factors[sorting]), on_device(drawn.sigma[sorting])
    x = ops.resized_crops(images[place], on_device(drawn.box[sorting]), view.size)
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
    for start, end in pairwise(bounds):
        if codes[start] < 0:
            continue
        part = x[start:end]
        for kind in drawn.order[sorting[start]].tolist():
            part = ops.ADJUST[kind](part, factors[start:end, kind].view(-1, 1, 1, 1))
        x[start:end] = part
    for name, step in ops.STEPS:
        chosen = np.flatnonzero(getattr(drawn, name)[sorting])
        if len(chosen):
            rows = on_device(chosen)
            x[rows] = step(x[rows], sigma[rows].view(-1, 1, 1, 1))
    shown = torch.empty_like(x)
    shown[place] = view.normalise(x)
    return shown


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
    ) -> None:
        super().__init__(sampler, batch_size)
        self.views, self.seed, self.device = views, seed, device
        self.images, self.targets = images.images, images.targets

    def batches(self, work: Iterator[Work]) -> Iterator[LoaderBatch]:
        """Yield the batches of `work`."""
        self.images, self.targets = self.images.to(self.device), self.targets.to(self.device)
        for item in work:
            yield whole_batch(self.images, self.targets, self.views, self.seed, item)


class BatchSet(Dataset[Any]):
    """The batches of `DeviceLoader` as a data set for worker processes.

    On a CPU it is faster if each core makes a batch of its own than if all cores share one batch.

    Args:
        images: a set in memory.
        views: what to show.
        seed: the run's seed.
    """

    def __init__(self, images: TensorSet, views: Views, seed: int) -> None:
        self.images, self.views, self.seed = images, views, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, keys: list[tuple[int, int]]) -> LoaderBatch:
        """Return the batch of these (epoch, index) pairs, all of one epoch; see `collated`."""
        item = keys[0][0], [index for _, index in keys]
        return whole_batch(self.images.images, self.images.targets, self.views, self.seed, item)


def collated(batch: LoaderBatch) -> LoaderBatch:
    """Return a batch of `BatchSet` unchanged; the `collate_fn` of its DataLoader."""
    return batch


def whole_batch(
    images: Tensor, targets: Tensor, views: Views, seed: int, work: Work
) -> LoaderBatch:
    """Return [indexes (N,), [views (N, C, H, W), ...], targets (N,)], on the images' device.

    Args:
        images: (M, C, H, W) uint8, the whole set.
        targets: (M,) its labels.
        views: what to show.
        seed: the run's seed.
        work: the epoch, and which images.
    """
    epoch, indexes = work
    drawn = views.draw(seed, epoch, indexes, [tuple(images.shape[-2:])] * len(indexes))
    rows = torch.tensor(indexes).to(images.device, non_blocking=True)  # else it waits for the GPU
    chosen = images[rows]
    pairs = zip(views.views, drawn, strict=True)
    return [rows, [show(view, chosen, draws) for view, draws in pairs], targets[rows]]
