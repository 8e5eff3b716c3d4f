"""Training and validation data as a Lightning data module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from solo_registry.config.devices import cores, device_of
from solo_registry.config.settings import setting
from solo_registry.data.augment import EvalTransform, Views
from solo_registry.data.dali import DaliEvalLoader, DaliLoader
from solo_registry.data.dali_graph import import_dali
from solo_registry.data.device import BatchSet, DeviceLoader, collated, in_memory
from solo_registry.data.opened import OpenedData, open_data
from solo_registry.data.pipeline import read_pipeline
from solo_registry.data.sampling import (
    WINDOW,
    EpochLoader,
    EpochSampler,
    PretrainSet,
    ResumableLoader,
    leave_signals,
)
from solo_registry.data.sets import (
    UNLABELLED,
    ImageSet,
    SetInfo,
    TensorSet,
    copied,
    hold_out,
    prepared,
    with_info,
)
from solo_registry.errors import UserError
from solo_registry.processes import serve_loaders

__all__ = ["EpochSampler", "PretrainDataModule", "PretrainSet", "build_data", "eval_loader"]


class PretrainDataModule(LightningDataModule):
    """Loaders of a pretraining run. The sampler itself shards by rank.

    Create the trainer with `use_distributed_sampler=False`, and with `limit_val_batches=0` if there
    is no validation set.

    Args:
        cfg: reads `seed`, `augmentations`, `optimizer.batch_size` (per device), `data.format`,
            `data.num_workers`, `dali.device`, `accelerator` and `devices`.
        train_set: images to pretrain on.
        val_set: images for the online classifier; None turns validation off.

    Attributes:
        info: facts about the data, with the config's mean and std where it gives them.
        views: the augmentation, with `num_large` and `num_small`.
        train_set: the training images, each once; evaluation uses these.
        pretrain_set: what an epoch of training shows: `data.copies` times all of `train_set`. Image
            i has the indexes i, N + i, 2 N + i and so on, so that a loss takes its copies for
            different images.
        digest: hash of the images; None unless `build_data` made this object.
        eval_device: the device that computes features outside the training loop.

    Raises:
        UserError: no images, a batch larger than the data, a label that is no class, a wrong
            augmentation, or a format that the set or this machine does not have.
    """

    digest: str | None = None

    def __init__(self, cfg: Any, train_set: ImageSet, val_set: ImageSet | None) -> None:
        super().__init__()
        check_labels(train_set, val_set, cfg.data)
        self.info = _with_config_statistics(train_set.info, cfg.augmentations)
        self.train_set = with_info(train_set, self.info)
        self.pretrain_set = copied(self.train_set, setting(cfg.data, "copies", 1))
        self.val_set = None if val_set is None else with_info(val_set, self.info)
        self.views = Views(cfg.augmentations, self.info)
        self.seed = int(cfg.seed)
        self.batch_size = int(cfg.optimizer.batch_size)
        self.eval_batch = setting(cfg.optimizer, "micro_batch_size", self.batch_size)
        self.format = setting(cfg.data, "format", "image_folder")
        self.dali_device = setting(getattr(cfg, "dali", None), "device", "auto")
        if self.format == "dali":
            import_dali()
        elif self.format == "on_device":
            in_memory(train_set)
        self.window = setting(cfg.data, "shuffle_window", WINDOW)
        self.num_workers = min(int(cfg.data.num_workers), cores())
        self.crop_size = read_pipeline(cfg.augmentations[0]).size
        self.eval_device = device_of(cfg)
        self._check_batch(1)

    def train_dataloader(self) -> ResumableLoader | EpochLoader:
        """Return batches [indexes (N,), [views (N, C, H, W), ...], targets (N,)] (solo-learn's).

        If the trainer's model has `NEEDS_CROPS`, a batch has a fourth item, the views' crops
        (N, V, 5); see `draws.crops_of`.
        """
        rank, world_size = self._place()
        self._check_batch(world_size)
        sampler = EpochSampler(
            len(self.pretrain_set),
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            blocks=self.pretrain_set.blocks,
            window=self.window,
        )
        crops = self._crops()
        by_workers = self.num_workers > 0 and self._device().type == "cpu"
        if self.format == "on_device" and not by_workers:
            return DeviceLoader(
                in_memory(self.pretrain_set),
                self.views,
                self.seed,
                sampler=sampler,
                batch_size=self.batch_size,
                device=self._device(),
                crops=crops,
            )
        if self.format == "dali":
            return DaliLoader(
                self.pretrain_set,
                self.views,
                self.seed,
                sampler=sampler,
                batch_size=self.batch_size,
                threads=self.num_workers,
                device=self._dali_device(),
                crops=crops,
            )
        images: Dataset[Any] = PretrainSet(self.pretrain_set, self.views, self.seed, crops)
        if self.format == "on_device":
            images = BatchSet(in_memory(self.pretrain_set), self.views, self.seed, crops)
        serve_loaders(self.num_workers)
        return ResumableLoader(
            images,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collated if self.format == "on_device" else None,
            drop_last=True,
            pin_memory=self._device().type == "cuda",
            persistent_workers=self.num_workers > 0,
            worker_init_fn=leave_signals,
        )

    def val_dataloader(self) -> DataLoader[Any] | DaliEvalLoader | list[Any]:
        """Return batches (X, y) of this rank's share of the validation images, in order.

        All processes measure together, so each must take part. A process without a share gets one
        image without a label, which no metric counts.
        """
        if self.val_set is None:
            return []
        rank, world_size = self._place()
        images, indices = self.val_set, range(rank, len(self.val_set), world_size)
        if not indices:
            images, indices = images.subset([0]), range(1)
            images.targets = torch.full_like(images.targets, UNLABELLED)
        if self.format == "dali":
            return DaliEvalLoader(
                images,
                crop_size=self.crop_size,
                batch_size=self.eval_batch,
                threads=self.num_workers,
                device=self._dali_device(),
                indices=indices,
            )
        return eval_loader(
            images,
            crop_size=self.crop_size,
            batch_size=self.eval_batch,
            num_workers=self.num_workers,
            indices=indices,
            device=self._device(),
        )

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _crops(self) -> bool:
        model = getattr(self.trainer, "lightning_module", None)
        return getattr(model, "NEEDS_CROPS", False)

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _dali_device(self) -> torch.device:
        device = self._device()
        if self.dali_device == "gpu" and device.type != "cuda":
            raise UserError(f"dali.device=gpu, but the run is on {device}; allowed: auto, cpu, gpu")
        return torch.device("cpu") if self.dali_device == "cpu" else device

    def _check_batch(self, world_size: int) -> None:
        share = len(self.pretrain_set) // world_size
        if self.batch_size > share:
            ranks = f", {share} on each of {world_size} devices" if world_size > 1 else ""
            raise UserError(
                f"optimizer.batch_size={self.batch_size} is more than the {len(self.pretrain_set)} "
                f"training images of '{self.info.name}'{ranks}: give optimizer.batch_size="
                f"{max(1, share)} or less; null chooses it by their number"
            )


class _EvalSet(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches: a list of indices -> (X, y)."""

    def __init__(self, images: ImageSet, crop_size: int) -> None:
        self.images = images
        self.transform = EvalTransform(images.info, crop_size)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        if isinstance(self.images, TensorSet):
            batch = self.images.subset(indices)
            return self.transform(batch.images), batch.targets
        pairs = [self.images[index] for index in indices]
        views = torch.stack([self.transform(image) for image, _ in pairs])
        return views, torch.tensor([target for _, target in pairs])


def eval_loader(
    images: ImageSet,
    *,
    crop_size: int,
    batch_size: int,
    num_workers: int,
    indices: Sequence[int] | None = None,
    device: torch.device | None = None,
) -> DataLoader[Any]:
    """Load batches (X, y) in order. Nothing is random and nothing is dropped.

    Args:
        images: the images.
        crop_size: height and width of X, in pixels.
        batch_size: images per batch; the last one may be smaller.
        num_workers: most processes that read files, one a batch; images in memory need none.
        indices: which images; None means all.
        device: where X is copied next; for a GPU, X is in pinned memory.

    Returns:
        Batches of X, float32 (N, C, crop_size, crop_size), and y, int64 (N,).
    """
    chosen = range(len(images)) if indices is None else indices
    batches = math.ceil(len(chosen) / batch_size)
    workers = 0 if isinstance(images, TensorSet) else min(num_workers, batches)
    serve_loaders(workers)
    return DataLoader(
        _EvalSet(images, crop_size),
        batch_size=None,
        sampler=BatchSampler(chosen, batch_size, drop_last=False),
        num_workers=workers,
        pin_memory=device is not None and device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=leave_signals,
    )


def build_data(cfg: Any, opened: OpenedData | None = None) -> PretrainDataModule:
    """Prepare the data that a config names, and check that a run can use it.

    Args:
        cfg: the config.
        opened: the config's data, if they are already open.

    Raises:
        UserError: see `open_set`, `prepared` and `PretrainDataModule`.
    """
    opened = opened or open_data(cfg.data)
    train_set = prepared(opened.train, cfg.data, "train")
    val_set: ImageSet | None
    if share := setting(cfg.data, "validation_fraction", 0):
        train_set, val_set = hold_out(train_set, share)
    else:
        val_set = None if opened.val is None else prepared(opened.val, cfg.data, "val")
    data = PretrainDataModule(cfg, train_set, val_set)
    data.digest = opened.digest
    return data


def check_labels(train_set: ImageSet, val_set: ImageSet | None, data: Any) -> None:
    """Refuse a label that is no class of the training images.

    Args:
        train_set: the training images; their `info` holds the number of classes.
        val_set: the validation images, if there are any.
        data: the config's `data` section, for the names of the files.

    Raises:
        UserError: naming the file, or the set, and the label.
    """
    classes = train_set.info.num_classes
    for side, images in (("train", train_set), ("val", val_set)):
        if images is None or not len(images):
            continue
        low, high = int(images.targets.min()), int(images.targets.max())
        if low >= UNLABELLED and high < classes:
            continue
        path = setting(data, f"{side}_path", None)
        where = f"data.{side}_path={path}" if path else f"the {side} images of '{images.info.name}'"
        known = f"0 to {classes - 1}, " if classes else ""
        raise UserError(
            f"{where}: label {low if low < UNLABELLED else high}, but the training images have "
            f"{classes} classes; a label is {known}or -1 for an image without a label"
        )


def _with_config_statistics(info: SetInfo, augmentations: Sequence[Any]) -> SetInfo:
    """Put the pipelines' mean and std, if any, into `info`, so that evaluation uses them too."""
    pipelines = [read_pipeline(augmentation) for augmentation in augmentations]
    statistics = {(tuple(p.mean or info.mean), tuple(p.std or info.std)) for p in pipelines}
    if len(statistics) > 1:
        raise UserError(
            "augmentations: the pipelines differ in mean or std "
            f"({' and '.join(map(str, sorted(statistics)))}); a data set has one of each"
        )
    return info.with_statistics(*statistics.pop()) if statistics else info
