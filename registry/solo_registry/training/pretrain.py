"""One pretraining run, from a composed config to its last checkpoint."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_registry.config.devices import count_processes, trainer_devices
from solo_registry.config.identity import config_hash
from solo_registry.config.index_file import INDEX_FILE, write_indices
from solo_registry.config.resolve import lr_product, resolve
from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.opened import OpenedData, open_data
from solo_registry.data.preview import draw_views
from solo_registry.errors import UserError
from solo_registry.runs.lifetime import STOPPED, is_stop, parent_of_all
from solo_registry.runs.model import build_method, read_checkpoint, two_images
from solo_registry.runs.run_data import (
    data_record,
    refuse_changed_data,
    refuse_foreign_checkpoint,
    require_digest,
)
from solo_registry.runs.run_folder import RunFolder, atomic_write
from solo_registry.training.callbacks import (
    CostFile,
    EpochLines,
    LastCheckpoint,
    MetricsFile,
    SeedEpoch,
    WholeCheckpointIO,
)
from solo_registry.training.divergence import Divergence, told_of_divergence
from solo_registry.training.processes import (
    NOT_MET,
    build_strategy,
    cluster_environment,
    is_further,
    not_met,
    notice,
)
from solo_registry.training.signals import OwnSignals
from solo_registry.training.telemetry import Telemetry

WANDB_SECONDS = 15  # how long to wait for wandb's server


@dataclass
class Trained:
    """The result of `train`, which the evaluation measures.

    Attributes:
        run: the run's folder.
        cfg: its resolved config.
        data: its data; None if the run was already finished.
        measures: whether this process measures the run; of several processes one does.
    """

    run: RunFolder
    cfg: DictConfig
    data: PretrainDataModule | None
    measures: bool


def train(given: DictConfig, console: Console) -> Trained:
    """Train, resume training, or do nothing if the run is finished.

    Args:
        given: the composed config.
        console: where progress is printed.

    Raises:
        UserError: anything in config, data or checkpoint that cannot work, before training starts.
    """
    cfg = resolve(given)
    environment = cluster_environment(cfg)
    opened = open_data(cfg.data)
    cure = "Leave data.digest out to train on these"
    require_digest(cfg.data.digest, opened, None, "data.digest asks for", cure)
    cfg.data.digest = opened.digest
    run = RunFolder.of(cfg)
    if run.read_result() is not None:
        if not is_further(environment):
            console.print(f"already finished: {run.path}", soft_wrap=True)
        return Trained(run, cfg, None, not is_further(environment))
    if is_further(environment) and count_processes(cfg) == 1:
        # with --multirun, the processes that rank 0 started for one run execute the others too
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
    synced = cfg.sync_batchnorm and count_processes(cfg) > 1
    two_images(cfg.optimizer.batch_size, model, "optimizer.batch_size", synced=synced)
    trainer = build_trainer(cfg, run, console, data, environment)
    resume = checkpoint_to_resume(cfg, run, opened)
    if trainer.is_global_zero:
        run.open(given, cfg, data_record(cfg, opened, data.info))
        if data.train_set.indices is not None:
            with atomic_write(run.path / INDEX_FILE) as part:
                write_indices(data.train_set.indices, part)
        if cfg.debug_augmentations:
            console.print(f"views: {draw_views(data, run.plots / 'views.png')}", soft_wrap=True)
        if text := notice(cfg):
            console.print(text, soft_wrap=True)
        console.print(f"run folder {run.path}\n{lr_product(cfg)}", soft_wrap=True, highlight=False)
        if resume:
            console.print(f"resuming from {resume}", soft_wrap=True)
    fit(trainer, model, data, resume)
    return Trained(run, cfg, data, trainer.is_global_zero)


def fit(trainer: Trainer, model: LightningModule, data: Any, resume: Path | None) -> None:
    """Train. Ctrl-C or SIGTERM ends the process with exit code 130 and a message how to resume.

    `data` is a data module or a loader. The process group is destroyed at the end, so that rank 0
    evaluates alone, however long that takes.

    Raises:
        UserError: training diverged (`Divergence`), or the other processes of the run did not
            connect in time.
    """
    signals = OwnSignals()
    trainer.callbacks.append(signals)  # type: ignore[attr-defined]
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
        if text := told_of_divergence(trainer, model, error):
            raise UserError(text) from error
        raise
    if dist.is_available() and dist.is_initialized():
        trainer.strategy.barrier()
        dist.destroy_process_group()


def checkpoint_to_resume(cfg: DictConfig, run: RunFolder, opened: OpenedData) -> Path | None:
    """Return the checkpoint to resume from: the one that the config names, or the run's own.

    Raises:
        UserError: the checkpoint that the config names does not exist, cannot be read, or belongs
            to another config or other images.
    """
    own = run.checkpoint if cfg.auto_resume.enabled and run.checkpoint.exists() else None
    path = Path(cfg.resume_from_checkpoint) if cfg.resume_from_checkpoint else own
    if path is None:
        return None
    refuse_foreign_checkpoint(path, cfg, opened)
    read_checkpoint(path, run.identity)
    if not run.checkpoint.exists():  # the run needs its weights even if no epoch is left
        with atomic_write(run.checkpoint) as part:
            shutil.copyfile(path, part)
    return path


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
    callbacks: list[Callback] = [
        Divergence(run.checkpoint, what_helps(cfg)),
        SeedEpoch(cfg.seed),
        MetricsFile(run.metrics),
        cost,
        LastCheckpoint(
            run.checkpoint, run.identity, cfg.checkpoint.frequency, cfg.checkpoint.keep_prev
        ),
    ]
    if cfg.telemetry.every_n_epochs:
        callbacks.append(Telemetry(cfg, run, data, cost))
    if bar:
        callbacks.append(RichProgressBar(leave=False))
    elif cfg.progress != "none":
        callbacks.append(EpochLines(console))
    logger = build_logger(cfg, run)
    if logger:
        callbacks.append(LearningRateMonitor("step"))
    strategy = build_strategy(cfg)
    try:
        trainer = Trainer(
            accelerator=cfg.accelerator,
            devices=trainer_devices(cfg),
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
            logger=logger or False,
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


def what_helps(cfg: DictConfig) -> str:
    """Return what to try if training diverges, for the message."""
    optimizer = cfg.optimizer
    ways = [
        f"a lower optimizer.lr (it is {optimizer.lr:g}, effective {optimizer.effective_lr:g})",
        f"more scheduler.warmup_epochs (now {cfg.scheduler.warmup_epochs:g})",
        "gradient_clip_val=1",
    ]
    if str(cfg.precision).startswith("16"):
        ways.append("precision=bf16-mixed or 32")
    return ", ".join(ways)


def build_logger(cfg: DictConfig, run: RunFolder) -> Logger | None:
    """Build the logger of `logger` or `wandb.enabled`; metrics.csv is written in any case.

    Raises:
        UserError: its package is not installed, or wandb has no account to log to.
    """
    name = "wandb" if cfg.wandb.enabled else cfg.logger
    if name == "csv":
        return None
    try:
        if name == "tensorboard":
            from lightning.pytorch.loggers import TensorBoardLogger

            return TensorBoardLogger(run.path, name="", version="tensorboard")
        from lightning.pytorch.loggers import WandbLogger

        if not cfg.wandb.offline:
            reach_wandb()
        logger = WandbLogger(
            name=f"{cfg.name}-{cfg.seed}",
            id=f"{config_hash(cfg)}-{cfg.seed}",  # a resumed run continues the same wandb run
            resume="allow",
            project=cfg.wandb.project,
            entity=cfg.wandb.entity,
            offline=cfg.wandb.offline,
            save_dir=run.path,
        )
        logger.log_hyperparams({"config": OmegaConf.to_container(cfg)})
        return logger
    except ImportError as error:
        raise UserError(
            f"logger={name} needs a package: pip install 'solo-dyntemp[{name}]' ({error})"
        ) from error
    except Exception as error:
        if not is_of_wandb(error):
            raise
        raise UserError(
            f"wandb cannot start a run: {' '.join(str(error).split())[:500]}. `wandb login` names "
            "the account; wandb.offline=true writes to the run's folder and needs none"
        ) from error


def reach_wandb() -> None:
    """Refuse to go on if wandb's server does not answer; wandb itself would retry for minutes.

    Raises:
        UserError: the server does not answer.
    """
    import wandb

    if os.environ.get("WANDB_MODE", "online") not in ("online", "shared"):
        return
    server = str(wandb.setup().settings.base_url)
    try:
        urlopen(server, timeout=WANDB_SECONDS).close()  # uses the environment's proxy
    except HTTPError:
        return  # the server answers; the status of the page does not matter
    except OSError as error:
        raise UserError(
            f"wandb: {server} does not answer ({error}). wandb.offline=true writes to the run's "
            "folder, and `wandb sync` sends it later"
        ) from error


def is_of_wandb(error: BaseException) -> bool:
    """Whether wandb itself raised `error`; does not import wandb."""
    here: TracebackType | None = error.__traceback__
    modules = [type(error).__module__]
    while here is not None:
        modules.append(here.tb_frame.f_globals.get("__name__", ""))
        here = here.tb_next
    return any(module.partition(".")[0] == "wandb" for module in modules)
