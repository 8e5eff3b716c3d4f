"""Measures the pairs of the loss, and the geometry of the features, during training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import default_collate

from solo_registry.config.devices import count_processes
from solo_registry.data.hashing import mix
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.sampling import LoaderBatch, PretrainSet
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.mechanism import Mechanism
from solo_registry.metrics.protocol import Features, geometry
from solo_registry.runs.run_folder import RunFolder, atomic_write
from solo_registry.training.callbacks import CostFile
from solo_registry.training.divergence import check_outputs

MOST_VIEWS = 2048  # views whose pairs are compared at a time; the matrix of pairs takes 32 MB


class Telemetry(Callback):
    """Writes mechanism.parquet and trajectory.parquet before, during and after training.

    Both are measured on the same training images and views every time, in batches of the training's
    size (`MOST_VIEWS` views at most). The pairs are embedded in training mode, as a training step
    does; the geometry is measured in evaluation mode.

    Telemetry does not change the training: it restores buffers and random states, and cost.json
    does not count its time. The checkpoint contains the rows so far, also of a part of the run with
    `telemetry.every_n_epochs=0`, which measures nothing and keeps the rows of the parts before.

    Args:
        cfg: the resolved config.
        run: the folder that the files are written to.
        data: the run's data.
        cost: the callback that must not count telemetry's time.
    """

    def __init__(
        self, cfg: DictConfig, run: RunFolder, data: PretrainDataModule, cost: CostFile
    ) -> None:
        self.every, self.bins = cfg.telemetry.every_n_epochs, cfg.telemetry.bins
        self.files = {name: run.path / f"{name}.parquet" for name in ("mechanism", "trajectory")}
        self.cost = cost
        self.tables: dict[str, list[dict[str, Any]]] = {"mechanism": [], "trajectory": []}
        self.images = PretrainSet(data.pretrain_set, data.views, data.seed)
        count = min(cfg.telemetry.images, len(self.images))
        generator = torch.Generator().manual_seed(mix(b"telemetry", cfg.seed))
        chosen = torch.randperm(len(self.images), generator=generator)[:count].tolist()
        views = data.views.num_large + data.views.num_small
        size = min(count, data.batch_size * count_processes(cfg), max(2, MOST_VIEWS // views))
        self.batches = [chosen[start : start + size] for start in range(0, count - size + 1, size)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the untrained network."""
        if self.every and trainer.global_step == 0:
            self.measure(trainer, pl_module, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure every `telemetry.every_n_epochs` epochs, and at the end."""
        done = trainer.current_epoch + 1
        if self.every and (done % self.every == 0 or done == trainer.max_epochs):
            self.measure(trainer, pl_module, done)

    def measure(self, trainer: Trainer, model: Any, epoch: int) -> None:
        """Measure and write both files.

        Every process measures the same, because batch statistics may be shared. The first process
        writes.
        """
        started = time.perf_counter()
        mechanism, feats = Mechanism(self.bins), []
        precision = trainer.precision_plugin
        with preserve_state(model):
            torch.manual_seed(mix(b"telemetry", self.images.seed, epoch))
            for indexes in self.batches:
                items = default_collate(self.images.__getitems__([(0, i) for i in indexes]))
                with precision.forward_context():
                    batch = precision.convert_input(items)
                    feats.append(self.one_batch(model, batch, mechanism))
        first, second, targets = (torch.cat(parts) for parts in zip(*feats, strict=True))
        check_outputs("the telemetry", first, second)
        pair = (first, second) if model.num_large_crops > 1 else None
        where = geometry(Features(first, targets), pair)
        found = {name: value for name, value in where.items() if value is not None}
        self.tables["mechanism"] += [{"epoch": epoch, **row} for row in mechanism.rows()]
        self.tables["trajectory"].append({"epoch": epoch, **found, **mechanism.summary()})
        for name, path in self.files.items() if trainer.is_global_zero else ():
            with atomic_write(path) as part:
                table = pd.DataFrame(self.tables[name])
                table.to_parquet(part, index=False, write_page_checksum=True)
        self.cost.leave_out(time.perf_counter() - started)

    def one_batch(
        self, model: BaseMethod, batch: LoaderBatch, mechanism: Mechanism
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add a batch's pairs to `mechanism`; return two large views' features, and the labels."""
        numbers, views, targets = batch
        numbers, targets = numbers.to(model.device), targets.to(model.device)
        views = [view.to(model.device) for view in views]
        with torch.no_grad():
            model.train()
            pairs = model.compared_pairs(model.embed(views), (numbers, views, targets))
            model.eval()
            large = views[: model.num_large_crops][:2]
            feats = [model(view)["feats"].float().cpu() for view in large]

        def tau(s: Tensor) -> Any:
            return model.pair_temperature(s, pairs.mask, numbers)

        mechanism.add(pairs, targets, tau)
        return feats[0], feats[-1], targets.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, for the checkpoint."""
        return self.tables

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the checkpoint's last row."""
        self.tables = {name: list(rows) for name, rows in state_dict.items()}


@contextmanager
def preserve_state(model: LightningModule) -> Iterator[None]:
    """Restore modes, buffers and torch's random states on exit."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for module, training in modes:
            module.training = training
