"""A certificate that a method's gradient is the same on one process and on several.

Several gloo processes on this machine's CPU take one training step of the method, each on its
share of a random batch; the mean of their gradients is compared with the gradient of one process
on the whole batch. The backbone is one linear layer, or one block of the vision transformer that
the config names, and normalisation uses its running statistics, because statistics per process are
meant to differ; loss, heads, queue and momentum are the run's.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.multiprocessing import get_all_start_methods
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import BACKBONES, METHODS
from solo_registry.config.resolve import resolve
from solo_registry.config.undecided import undecided
from solo_registry.errors import UserError
from solo_registry.methods.parts.whitening import IterNorm
from solo_registry.paths import exists

CHANNELS, SIZE, CLASSES = 1, 8, 4
LINEAR = "linear_for_verify"
SMALL_VIT = {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 2}
TIMEOUT = datetime.timedelta(seconds=120)


class LinearBackbone(nn.Module):
    """Pixels times a matrix: no statistics over the batch. A feature map as timm's models have."""

    def __init__(self, *, in_channels: int, image_size: int) -> None:
        super().__init__()
        self.num_features = 32
        self.linear = nn.Linear(in_channels * image_size**2, 4 * self.num_features)

    def forward_features(self, X: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 32, 2, 2)."""
        features: Tensor = self.linear(X.flatten(1))
        return features.view(-1, self.num_features, 2, 2)

    def forward_head(self, maps: Tensor) -> Tensor:
        """Map (N, 32, 2, 2) to (N, 32)."""
        return maps.mean((2, 3))

    def forward(self, X: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, 32)."""
        return self.forward_head(self.forward_features(X))


@dataclass(frozen=True)
class Certificate:
    """Outcome of a check.

    Attributes:
        error: largest absolute difference of any gradient element.
        scale: largest absolute gradient element.
        loss_error: absolute difference of the losses.
        worst: parameter with the largest difference.
    """

    error: float
    scale: float
    loss_error: float
    worst: str


def verify_ddp(given: DictConfig, *, processes: int = 2, images: int = 8) -> Certificate:
    """Compare the gradients of `processes` processes with those of one.

    Args:
        given: a composed config; its method, method_kwargs and number of crops are used.
        processes: how many, at least 2.
        images: images per process.

    Raises:
        UserError: the config is wrong, or the numbers are too small.
    """
    return verify_all([given], processes=processes, images=images)[0]


def verify_all(
    givens: Sequence[DictConfig], *, processes: int = 2, images: int = 8
) -> list[Certificate]:
    """Check several configs with the same processes, since starting them takes longest."""
    if processes < 2 or images < 1:
        raise UserError(f"needs 2 processes and 1 image, got {processes} and {images}")
    cfgs = [small_config(given, processes, images) for given in givens]
    wholes = [whole_step(cfg) for cfg in cfgs]
    with tempfile.TemporaryDirectory() as folder:
        plain = [OmegaConf.to_yaml(cfg) for cfg in cfgs]
        saved = [Path(folder) / f"{rank}.pt" for rank in range(processes)]
        words = (processes, images, plain, folder)
        start = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
        try:
            start_processes(_worker, words, processes, start_method=start)  # type: ignore[no-untyped-call]
        except ProcessExitedException:  # gloo's threads can abort a process that is leaving,
            if not all(exists(path) for path in saved):  # when all results have been saved
                raise
        shares = [torch.load(path) for path in saved]
    return [compare(*results) for results in zip(wholes, *shares, strict=True)]


def compare(whole: dict[str, Tensor], *shares: dict[str, Tensor]) -> Certificate:
    """Compare loss and gradients of one process with the mean of those of several."""
    mean = {name: torch.stack([share[name] for share in shares]).mean(0) for name in whole}
    loss_error = float((whole["loss"] - mean["loss"]).abs())
    names = [name for name in whole if name != "loss"]
    errors = {name: float((whole[name] - mean[name]).abs().max()) for name in names}
    worst = max(errors, key=lambda name: errors[name])
    scale = max(float(whole[name].abs().max()) for name in names)
    return Certificate(errors[worst], scale, loss_error, worst)


def small_config(given: DictConfig, processes: int, images: int) -> DictConfig:
    """Keep the method of `given`; make batch, queue and images small."""
    cfg = given.copy()
    vit = getattr(METHODS.get(cfg.method), "TRANSFORMER", False)
    for key, value in undecided(cfg).items():  # what images would decide
        OmegaConf.update(cfg, key, "vit_tiny" if vit and key == "backbone.name" else value)
    cfg.devices, cfg.num_nodes = processes, 1
    cfg.optimizer.batch_size = images
    if cfg.optimizer.get("micro_batch_size"):
        cfg.optimizer.micro_batch_size = 1
    cfg.precision = 64  # so that only a wrong gradient shows, never rounding
    large = cfg.augmentations[0].crop_size
    for pipeline in cfg.augmentations:
        pipeline.crop_size = SIZE if pipeline.crop_size == large else 4
    if "queue_size" in cfg.method_kwargs:
        cfg.method_kwargs.queue_size = 4 * processes * images
    cfg = resolve(cfg)
    cfg.data.num_classes, cfg.data.image_channels = CLASSES, CHANNELS
    cfg.data.train_images = processes * images
    cfg.knn_eval.enabled = False
    if cfg.backbone.name.startswith("vit"):  # has no statistics over the batch
        cfg.backbone.kwargs = SMALL_VIT
    else:
        cfg.backbone.name, cfg.backbone.kwargs = LINEAR, {}
    return cfg


def whole_step(cfg: DictConfig) -> dict[str, Tensor]:
    """Take the step of one process on the whole batch, not in micro-batches.

    Raises:
        UserError: the method needs more for a step than a batch, such as a trainer.
    """
    cfg = cfg.copy()
    cfg.optimizer.micro_batch_size = None
    try:
        return one_step(cfg, range(cfg.optimizer.batch_size * cfg.devices))
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"method '{cfg.method}' cannot take a step on its own, as verify-ddp lets it: {error}"
        ) from error


def one_step(cfg: DictConfig, rows: range) -> dict[str, Tensor]:
    """Return loss and gradients of one step on some rows of the random batch."""
    target = "solo_registry.verify_ddp:LinearBackbone"
    BACKBONES.add_lazy(LINEAR, target, summary="one matrix, for verify-ddp")
    torch.manual_seed(0)
    model: Any = METHODS.get(cfg.method)(cfg).double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | IterNorm):
            module.eval()
    model.log = model.log_dict = lambda *_, **__: None
    generator = torch.Generator().manual_seed(1)
    count = cfg.optimizer.batch_size * cfg.devices
    shape = (cfg.data.num_large_crops + cfg.data.num_small_crops, count, CHANNELS, SIZE, SIZE)
    views = torch.randn(shape, generator=generator, dtype=torch.float64)[:, list(rows)]
    indexes = torch.arange(count)[list(rows)]
    batch = [indexes, list(views), indexes % CLASSES]
    if getattr(model, "NEEDS_CROPS", False):
        crops = torch.randint(1, 2 * SIZE, (count, len(views), 5), generator=generator)
        crops[..., 4] %= 2
        batch.append(crops[list(rows)])
    try:
        torch.set_default_dtype(torch.float64)  # of what a step makes, such as a normalisation
        loss = model.training_step(batch, 0)
        loss.backward()
    finally:
        torch.set_default_dtype(torch.float32)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**gradients, "loss": loss.detach()}


def _worker(rank: int, processes: int, images: int, configs: list[str], folder: str) -> None:
    torch.set_num_threads(1)
    load_plugins()
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=processes,
        timeout=TIMEOUT,
    )
    try:
        rows = range(rank * images, (rank + 1) * images)
        results = [one_step(cast(DictConfig, OmegaConf.create(text)), rows) for text in configs]
        torch.save(results, os.path.join(folder, f"{rank}.pt"))
        dist.barrier()  # nobody leaves while another still talks
    finally:
        dist.destroy_process_group()
