"""One pretraining run, from a composed config to its last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from rich.console import Console

from solo_registry.config.devices import count_processes, trainer_accelerator, trainer_devices
from solo_registry.config.index_file import INDEX_FILE, write_indices
from solo_registry.config.resolve import lr_product, resolve
from solo_registry.data.from_images import completed
from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.opened import open_data
from solo_registry.data.preview import draw_views
from solo_registry.errors import UserError
from solo_registry.plots.style import attempt
from solo_registry.runs.lifetime import STOPPED, is_stop, parent_of_all
from solo_registry.runs.lock import LEASE, held
from solo_registry.runs.model import build_method, two_images
from solo_registry.runs.run_data import data_record, refuse_changed_data, require_digest
from solo_registry.runs.run_folder import RunFolder, atomic_write
from solo_registry.training.callbacks import (
    CostFile,
    LastCheckpoint,
    MetricsFile,
    SeedEpoch,
    WholeCheckpointIO,
)
from solo_registry.training.compiled import MarkSteps, compile_backbones, told_of_compiler
from solo_registry.training.divergence import Divergence, told_of_divergence
from solo_registry.training.inside_epoch import InsideEpoch
from solo_registry.training.loggers import build_logger
from solo_registry.training.notes import notes_of, what_helps
from solo_registry.training.processes import (
    NOT_MET,
    build_strategy,
    cluster_environment,
    is_further,
    is_of_peer,
    not_met,
    notice,
    peer_ended,
)
from solo_registry.training.progress import EpochBar, EpochLines, LiveCurves
from solo_registry.training.resume import checkpoint_to_resume, named_checkpoint
from solo_registry.training.signals import OwnSignals
from solo_registry.training.telemetry import Telemetry


@dataclass
class Trained:
    """The result of `train`, which the evaluation measures.

    Attributes:
        run: the run's folder.
        cfg: its resolved config.
        data: its data; None if the run was already finished.
        measures: whether this process measures the run; of several processes one does.
        logger: TensorBoard or wandb, which get the result too.
    """

    run: RunFolder
    cfg: DictConfig
    data: PretrainDataModule | None
    measures: bool
    logger: Logger | None = None


def train(given: DictConfig, console: Console, lock: ExitStack) -> Trained:
    """Train, resume training, or do nothing if the run is finished.

    Args:
        given: the composed config.
        console: where progress is printed.
        lock: takes the lock of the run's folder, which the caller holds while it measures.

    Raises:
        UserError: anything in config, data or checkpoint that cannot work, before training starts.
    """
    cfg = resolve(given)
    environment = cluster_environment(cfg)
    opened = open_data(cfg.data)
    cure = "Leave data.digest out to train on these"
    require_digest(cfg.data.digest, opened, None, "data.digest asks for", cure)
    cfg, chosen = completed(cfg, opened)
    run = RunFolder.of(cfg)
    if run.read_result() is not None:
        if not is_further(environment):
            console.print(f"already finished: {run.path}", soft_wrap=True)
        return Trained(run, cfg, None, not is_further(environment))
    if is_further(environment) and count_processes(cfg) == 1:
        # the processes that rank 0 started for one run of a script execute its others too
        return Trained(run, cfg, None, measures=False)
    refuse_changed_data(run, cfg, opened)
    data = build_data(cfg, opened)
    measured = data.train_set if data.val_set is None else data.val_set
    if cfg.evaluation.enabled and len(measured) < 2:
        raise UserError(
            f"'{data.info.name}' has 1 image to measure, but the evaluation compares pairs: give "
            "2 validation images or more, none (data.val_path=null), or evaluation.enabled=false"
        )
    model = build_method(cfg, data)
    if cfg.performance.compile:
        compile_backbones(model, cfg.performance.compile_mode)
    synced = cfg.sync_batchnorm and count_processes(cfg) > 1
    size = "batch_size" if cfg.optimizer.micro_batch_size is None else "micro_batch_size"
    two_images(cfg.optimizer[size], model, f"optimizer.{size}", synced=synced)
    trainer = build_trainer(cfg, run, console, data, environment)
    named = named_checkpoint(cfg, run, opened)  # refused before the lock makes a folder
    if not is_further(environment):
        lock.enter_context(alone(run, cfg, environment, console))
    if run.read_result() is not None:  # another process has finished it meanwhile
        console.print(f"already finished: {run.path}", soft_wrap=True)
        return Trained(run, cfg, None, not is_further(environment))
    if logger := build_logger(cfg, run):
        trainer.loggers = [logger]
        trainer.callbacks.append(LearningRateMonitor("step"))  # type: ignore[attr-defined]
    resume = checkpoint_to_resume(named, cfg, run, opened)
    if trainer.is_global_zero:
        epochs = resume.epochs if resume else 0
        changed = begin(given, cfg, run, data_record(cfg, opened, data.info), data, epochs)
        views = run.plots / "views.png"
        if cfg.debug_augmentations and attempt(draw_views, data, views):
            console.print(f"views: {views}", soft_wrap=True)
        lines = [notice(cfg), f"run folder {run.path}", chosen, lr_product(cfg)]
        lines += notes_of(cfg)
        if resume:
            lines.append(f"resuming from {resume.path}, after step {resume.steps}")
        if changed:
            lines.append(
                f"the epochs before were made elsewise, which can move the numbers: {changed}"
            )
        console.print("\n".join(filter(None, lines)), soft_wrap=True, highlight=False)
    fit(trainer, model, data, resume.path if resume else None)
    return Trained(run, cfg, data, trainer.is_global_zero, trainer.logger)


@contextmanager
def alone(
    run: RunFolder, cfg: DictConfig, environment: ClusterEnvironment, console: Console
) -> Iterator[None]:
    """Hold the lock of a run's folder, for the first process of the run.

    Processes that a launcher starts at the same time all look at the folder, but only the first
    waits for the lock. So it waits no longer than the lock of a killed process can stay.

    Raises:
        UserError: another process works on the run, or worked on it while this one waited and
            others had looked.
    """
    together = environment.creates_processes_externally or cfg.num_nodes > 1
    before = run.progress()
    with held(run.path, console, patience=2 * LEASE if together else None):
        if together and run.progress() != before:
            raise UserError(f"another process has just worked on {run.path}: start this one again")
        yield


def begin(
    given: DictConfig,
    cfg: DictConfig,
    run: RunFolder,
    record: dict[str, Any],
    data: PretrainDataModule,
    epochs: int,
) -> str:
    """Write what describes a run into its folder, and remove what killed writes have left there.

    Returns:
        How the environment differs from that of the `epochs` epochs that are done.
    """
    run.remove_parts()
    changed = run.open(given, cfg, record, epochs)
    if data.train_set.indices is not None:
        with atomic_write(run.path / INDEX_FILE) as part:
            write_indices(data.train_set.indices, part)
    return changed


def fit(trainer: Trainer, model: LightningModule, data: Any, resume: Path | None) -> None:
    """Train. Ctrl-C or SIGTERM ends the process with exit code 130 and a message how to resume.

    `data` is a data module or a loader. The process group is destroyed at the end, so that rank 0
    evaluates alone, however long that takes.

    Raises:
        UserError: training diverged (`Divergence`), the network could not be compiled, the other
            processes of the run did not connect in time, or one of them has ended.
    """
    # deterministic mode would also fill each new tensor, in case it is read before it is written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    signals = OwnSignals()
    trainer.callbacks.insert(0, signals)  # type: ignore[attr-defined]  # others add to its handlers
    # Lightning does so after it has loaded the checkpoint, whose float64 would then be rounded
    trainer.precision_plugin.convert_module(model)
    try:
        with parent_of_all(), signals.at_default(trainer.world_size > 1):
            trainer.fit(model, data, ckpt_path=resume, weights_only=True)
    except (SystemExit, RuntimeError, ValueError) as error:
        if is_stop(error):  # RuntimeError: loader processes got SIGTERM too
            raise SystemExit(STOPPED) from error
        if isinstance(error, SystemExit | UserError):
            raise
        if isinstance(error, NOT_MET) and not signals.training:
            raise not_met(error) from error
        if signals.training and is_of_peer(error):
            if not trainer.is_global_zero:
                raise SystemExit(2) from error
            raise peer_ended(error) from error
        if text := told_of_compiler(error) or told_of_divergence(trainer, model, error):
            raise UserError(text) from error
        raise
    if dist.is_available() and dist.is_initialized():
        trainer.strategy.barrier()
        dist.destroy_process_group()


def build_trainer(
    cfg: DictConfig,
    run: RunFolder,
    console: Console,
    data: PretrainDataModule,
    environment: ClusterEnvironment,
) -> Trainer:
    """Build Lightning's Trainer from the config.

    Args:
        cfg: resolved config.
        run: the folder that callbacks write to.
        console: where progress is printed.
        data: the run's data.
        environment: the result of `cluster_environment`.

    Raises:
        UserError: this machine does not have the accelerator, devices, strategy or precision.
    """
    bar = cfg.progress == "bar" or (cfg.progress == "auto" and console.is_terminal)
    cost = CostFile(run.path / "cost.json")
    divergence = Divergence(run.checkpoint, what_helps(cfg))
    inside = InsideEpoch(run.inside, cfg.checkpoint.every_n_minutes, divergence)
    callbacks: list[Callback] = [
        divergence,
        SeedEpoch(cfg.seed),
        MetricsFile(run.metrics),
        cost,
        inside,
        LastCheckpoint(
            run.checkpoint, run.identity, inside, cfg.checkpoint.frequency, cfg.checkpoint.keep_prev
        ),
        Telemetry(cfg, run, data, cost),
    ]
    if cfg.progress != "none":
        callbacks.append(EpochLines(console))
    if bar:
        callbacks.append(EpochBar(leave=False))
    if cfg.performance.compile:
        callbacks.append(MarkSteps())
    if cfg.evaluation.enabled and cfg.evaluation.pictures:
        callbacks.append(LiveCurves(run, cost))
    strategy, accelerator = build_strategy(cfg), trainer_accelerator(cfg)
    devices = trainer_devices(cfg)
    try:
        trainer = Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=cfg.num_nodes,
            strategy=strategy,
            precision=cfg.precision,
            sync_batchnorm=cfg.sync_batchnorm,
            max_epochs=cfg.max_epochs,
            accumulate_grad_batches=cfg.accumulate_grad_batches,
            gradient_clip_val=cfg.gradient_clip_val,
            check_val_every_n_epoch=cfg.check_val_every_n_epoch,
            log_every_n_steps=cfg.log_every_n_steps,
            limit_val_batches=0 if data.val_set is None else None,
            deterministic=cfg.deterministic,
            benchmark=cfg.benchmark,
            callbacks=callbacks,
            logger=False,  # `train` adds it: it may begin to write
            plugins=[WholeCheckpointIO(), environment],
            default_root_dir=run.path,  # Lightning looks for a SLURM job's checkpoint here
            enable_checkpointing=True,
            enable_progress_bar=bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # our sampler shards by global rank
        )
    except (
        ImportError, MisconfigurationException, RuntimeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise UserError(
            f"no trainer for accelerator={cfg.accelerator} devices={cfg.devices} "
            f"strategy={cfg.strategy} precision={cfg.precision}: {' '.join(str(error).split())}"
        ) from error
    if (found := trainer.world_size) != (wanted := count_processes(cfg)):
        raise UserError(
            f"strategy={cfg.strategy} would train on {found} processes, the config says {wanted} "
            f"(devices={cfg.devices} x num_nodes={cfg.num_nodes})"
        )
    return trainer
