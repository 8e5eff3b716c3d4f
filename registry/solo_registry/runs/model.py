"""Building a method with the weights of its seed, and reading a checkpoint safely."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.catalog.registry import METHODS
from solo_registry.config.devices import count_processes
from solo_registry.config.text_file import file_digest
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.sets import UNLABELLED
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod
from solo_registry.paths import is_file


def build_method(cfg: DictConfig, data: PretrainDataModule) -> BaseMethod:
    """Build the method of a resolved config with initial weights drawn from the config's seed.

    Raises:
        UserError: the data have too few images for the config.
    """
    cfg.data.num_classes = data.info.num_classes
    cfg.data.image_channels = data.info.channels
    cfg.data.train_images = len(data.pretrain_set)
    step = count_processes(cfg) * data.batch_size
    if (most := len(data.pretrain_set) // step) < cfg.accumulate_grad_batches > 1:
        raise UserError(
            f"accumulate_grad_batches={cfg.accumulate_grad_batches} is more than the {most} "
            "batches of an epoch, at whose end the optimizer steps in any case: the learning rate "
            "would be that of images which no step sees"
        )
    if cfg.knn_eval.enabled:
        _check_bank(cfg.knn_eval.k, step, data.pretrain_set.targets)
    return rebuild_method(cfg)


def rebuild_method(cfg: DictConfig, *, initial: bool = True) -> BaseMethod:
    """Build the method of a config that holds the numbers of classes, channels and images.

    Args:
        cfg: the config.
        initial: whether `backbone.weights` are loaded; where a checkpoint's follow, false leaves
            the file alone.

    Raises:
        UserError: the config lacks a number, as the config of a run that never began; or the file
            of `backbone.weights` is not that of the config.
    """
    if start := cfg.backbone.get("weights"):
        if not initial:
            cfg = cfg.copy()
            cfg.backbone.weights = None
        elif file_digest(start, "backbone.weights") != cfg.backbone.weights_digest:
            raise UserError(f"backbone.weights={start} has changed since the run was named")
    for key in ("num_classes", "image_channels", "train_images"):
        if cfg.data[key] is None:
            raise UserError(f"the run's config has no data.{key}: the run has not begun")
    seed_everything(cfg.seed, workers=True, verbose=False)
    model: BaseMethod = METHODS.get(cfg.method)(cfg)
    if not model.no_channel_last:
        model = model.to(memory_format=torch.channels_last)
    return model


def _check_bank(k: int, step: int, targets: Tensor) -> None:
    """Refuse an online kNN whose k is larger than the number of labelled images of an epoch."""
    images = len(targets) // step * step
    labelled = int((targets != UNLABELLED).sum())
    if k > min(images, labelled):
        which = f"{images} images" if images <= labelled else f"{labelled} labelled images"
        raise UserError(f"knn_eval.k={k} is more than the {which} of an epoch")


def two_images(batch_size: int, model: nn.Module, key: str, *, synced: bool = False) -> None:
    """Refuse a batch of one image if the model has BatchNorm, which needs two for its statistics.

    Args:
        batch_size: images of a step in one process.
        model: the trained module.
        key: the name of the setting, for the error text.
        synced: whether BatchNorm's statistics cover several processes.

    Raises:
        UserError: the batch is one image; the message names a layer that needs two.
    """
    if batch_size > 1 or synced:
        return
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise UserError(
                f"{key}={batch_size}: BatchNorm ({name}) needs at least 2 images for its mean and "
                "variance. Backbones without it are vit_* and timm/convnext_*"
            )


def read_checkpoint(path: Path, *identities: str) -> dict[str, Any]:
    """Read a checkpoint as tensors and plain values only, after checking that all bytes are whole.

    Args:
        path: the file.
        identities: names of the run that it must belong to, of which one must fit; none given
            accepts any run.

    Raises:
        UserError: the file does not exist, cannot be read, is damaged, holds more than weights, or
            belongs to another config.
    """
    try:
        if not is_file(path):
            raise UserError(f"no checkpoint at {path}")
        with zipfile.ZipFile(path) as archive:  # torch itself does not compare the checksums
            if (member := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {member} is wrong")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} is damaged or holds more than weights: {reason}. "
            "Remove it to start the run again from the beginning"
        ) from error
    needed = {"epoch", "global_step", "state_dict", "loops"}
    lacking = needed - set(checkpoint) if isinstance(checkpoint, dict) else needed
    if lacking:
        raise UserError(f"{path} is no checkpoint of a run: it lacks {', '.join(sorted(lacking))}")
    found = checkpoint.get("run")
    if identities and found not in identities:
        raise UserError(
            f"{path} belongs to another config or seed ({found}, this run is {identities[0]}), or "
            "to other data: resume it with the settings in its run folder's resolved.yaml"
        )
    return checkpoint


def fill(model: BaseMethod, checkpoint: dict[str, Any], path: Path) -> None:
    """Load all weights of a checkpoint strictly; `path` is where it was read, for the message.

    Raises:
        UserError: names or shapes differ; the message gives the first few.
    """
    try:
        model.load_state_dict(checkpoint["state_dict"], strict=True)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:500]
        raise UserError(f"{path} does not fit method and backbone of its run: {reason}") from error
