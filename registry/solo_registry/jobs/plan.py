"""What a run will cost, counted and measured before it is sent to a cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig

from solo_registry.config.devices import count_processes, trainer_accelerator
from solo_registry.config.resolve import lr_product, resolve
from solo_registry.console import quiet_libraries
from solo_registry.data.from_images import completed
from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.opened import open_data
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.parts.method import ContrastiveMixin
from solo_registry.methods.parts.queue import KeyQueue
from solo_registry.runs.model import build_method
from solo_registry.training.callbacks import peak_host_bytes
from solo_registry.training.notes import notes_of
from solo_registry.training.pretrain import fit
from solo_registry.training.progress import spell_time

GB = 1e9
SECOND_PASS = 4 / 3  # forward, backward and forward again, against forward and backward


@dataclass(frozen=True)
class Counts:
    """What a run does.

    Attributes:
        batches: in an epoch, of each process.
        steps: of the optimizer, in all.
        images: shown in all, by all processes.
        anchors: that a process's loss compares at a time; 0 if it compares no pairs.
        candidates: that it compares each of them with.
    """

    batches: int
    steps: int
    images: int
    anchors: int = 0
    candidates: int = 0

    @classmethod
    def of(cls, cfg: DictConfig, model: BaseMethod, images: int) -> Counts:
        """Count from a resolved config, its model and its number of training images."""
        processes, batch = count_processes(cfg), cfg.optimizer.batch_size
        batches = images // processes // batch
        steps = math.ceil(batches / cfg.accumulate_grad_batches) * cfg.max_epochs
        shown = batches * batch * processes * cfg.max_epochs
        if not isinstance(model, ContrastiveMixin):
            return cls(batches, steps, shown)
        return cls(batches, steps, shown, *pairs_of_loss(model, batch, processes))


@torch.no_grad()
def pairs_of_loss(model: BaseMethod, batch: int, processes: int) -> tuple[int, int]:
    """Return how many anchors a process's loss compares with how many candidates."""
    size, channels = model.cfg.augmentations[0].crop_size, model.cfg.data.image_channels
    sizes = [crop.crop_size for crop in model.cfg.augmentations for _ in range(crop.num_crops)]
    sizes.sort(key=lambda one: one != size)  # large crops first
    views = [torch.zeros(2, channels, side, side) for side in sizes]
    numbers = torch.arange(2)
    model.eval()
    pairs = model.compared_pairs(model.embed(views), (numbers, views, numbers * 0))
    model.train()
    anchors = len(pairs.anchors) // 2 * batch
    candidates = len(pairs.candidates) // 2 * batch * processes
    queues = [part.keys.shape[2] for part in model.modules() if isinstance(part, KeyQueue)]
    return anchors, max([candidates, *queues])


class Probe(Callback):
    """Times batches for some seconds, without the first, and ends the training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.began = self.took = 0.0
        self.batches = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the clock, when the device has done the step."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        self.batches += 1
        if self.batches == 0:
            self.began = now
        self.took = now - self.began
        trainer.should_stop = self.took >= self.seconds and self.batches > 0


def probe(cfg: DictConfig, data: PretrainDataModule, seconds: float) -> tuple[float, float]:
    """Train on one device for some seconds.

    Returns:
        Seconds that a batch of the config takes, and the peak memory of the device in bytes.
    """
    small = cfg.copy()
    small.devices, small.num_nodes, small.knn_eval.enabled = 1, 1, False
    parts = 1
    if size := cfg.optimizer.micro_batch_size:
        small.optimizer.batch_size, small.optimizer.micro_batch_size = size, None
        parts = cfg.optimizer.batch_size // size
    small = resolve(small)
    data.batch_size = small.optimizer.batch_size
    clock = Probe(seconds)
    quiet_libraries()
    trainer = Trainer(
        accelerator=trainer_accelerator(cfg),
        devices=1,
        precision=cfg.precision,
        max_epochs=1_000_000,
        callbacks=[clock],
        logger=False,
        limit_val_batches=0,
        deterministic=cfg.deterministic,
        benchmark=cfg.benchmark,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    model = build_method(small, data)
    fit(trainer, model, data, None)
    on_gpu = trainer.strategy.root_device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_host_bytes() or 0
    whole = clock.took / clock.batches * parts * (SECOND_PASS if parts > 1 else 1)
    return whole, peak


def plan(given: DictConfig, seconds: float) -> Iterator[str]:
    """Yield lines about what a run of a composed config will cost.

    Args:
        given: the config.
        seconds: how long training is tried on one device; 0 tries nothing.

    Raises:
        UserError: the config or its data cannot work.
    """
    cfg = resolve(given)
    opened = open_data(cfg.data)
    cfg, chosen = completed(cfg, opened)
    data = build_data(cfg, opened)
    model = build_method(cfg, data)
    counts = Counts.of(cfg, model, len(data.train_set))
    processes, batch = count_processes(cfg), cfg.optimizer.batch_size
    yield from filter(None, [chosen, lr_product(cfg), *notes_of(cfg)])
    yield f"{cfg.method}: {sum(p.numel() for p in model.parameters()):,} weights"
    yield (
        f"{len(data.train_set):,} images: {counts.batches:,} batches of {batch:,} x {processes} "
        f"processes an epoch, {counts.steps:,} steps in {cfg.max_epochs} epochs, which show "
        f"{counts.images:,} images"
    )
    if counts.anchors:
        yield (
            f"each process's loss compares {counts.anchors:,} anchors with {counts.candidates:,} "
            f"candidates: {4 * counts.anchors * counts.candidates / GB:.3g} GB for a float32 "
            "matrix of them; " + how_many(cfg)
        )
    if seconds:
        each, peak = probe(cfg, data, seconds)
        left = each * counts.batches * cfg.max_epochs
        memory = f", {peak / GB:.3g} GB at most" if peak else ""  # Windows does not say
        yield (
            f"tried on one device of this machine: {each:.3g} s a batch, {batch / each:,.0f} "
            f"images a second{memory}: {spell_time(left)} to train"
        )
        yield (
            "not counted: validation, telemetry, evaluation"
            + (", the exchange between processes" if processes > 1 else "")
            + (", the loss over the whole batch" if cfg.optimizer.micro_batch_size else "")
        )


def how_many(cfg: DictConfig) -> str:
    """Say how many matrices of its pairs a loss holds."""
    name = cfg.method_kwargs.get("implementation")
    if name in ("tiled", "triton"):
        return f"implementation={name} holds none"
    several = "the loss holds several of them"
    return f"{several}, but none with implementation=tiled or triton" if name else several
