"""Supervised classifiers on a run's backbone: SGD linear probe, and fine-tuning with few labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, RichProgressBar
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from solo_registry.config.devices import device_of
from solo_registry.console import quiet_libraries
from solo_registry.data.augment import Views
from solo_registry.data.module import PretrainDataModule, eval_loader
from solo_registry.data.sampling import EpochSampler, PretrainSet, ResumableLoader
from solo_registry.data.sets import UNLABELLED, ImageSet
from solo_registry.data.subset import stratified
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Classifier, Recipe
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.accuracy import top_accuracy
from solo_registry.paths import exists
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.lock import held, lock_of
from solo_registry.runs.model import read_checkpoint, two_images
from solo_registry.runs.read import json_text, read_signed, signed
from solo_registry.runs.run_folder import remove_parts, write_json
from solo_registry.training.callbacks import LastCheckpoint, SeedEpoch, WholeCheckpointIO
from solo_registry.training.divergence import Divergence, check_outputs
from solo_registry.training.pretrain import fit
from solo_registry.training.processes import one_process

SCHEMA_VERSION = 1


def classify(
    path: Path, recipe: Recipe, console: Console, *, data: str | None = None, **where: Any
) -> dict[str, Any]:
    """Train a classifier on a run's backbone and measure it, after the last epoch only.

    If it was killed, the next call resumes from the last finished epoch and ends in the same
    result. Training images get the crop and the flip of the run's first augmentation and nothing
    else. The run's seed draws the head, the order, the views and the labelled share, so that runs
    of one seed see the same images.

    Args:
        path: a run folder, or a checkpoint inside one.
        recipe: how to train.
        console: where progress is printed.
        data: name of another data set; None means the run's own.
        **where: as in `LoadedRun.data`.

    Returns:
        The content of the file that was written to evaluations/.

    Raises:
        UserError: no run there, a wrong value, data without labels, or a damaged checkpoint.
    """
    recipe.check()
    one_process(recipe.name)
    run = LoadedRun(path)
    cfg = run.cfg
    used = run.data(data, **where)
    train_set, _ = labelled(used, recipe, cfg.seed)
    settings = {**asdict(recipe), "seed": cfg.seed, "train_images": len(train_set)}
    settings["data"] = used.digest
    model = run.untrained(initial=False)
    epochs = int(run.load_weights(model)["epoch"]) + 1
    unfinished = None if epochs >= cfg.max_epochs else epochs
    out = run.file(recipe.name, unfinished, data, used.digest)
    job = Classification(run, recipe, used, settings, epochs, out)
    done = already_there(out, settings)
    if done is None or exists(job.saved) or exists(lock_of(out)):
        with held(out, console):
            if (done := already_there(out, settings)) is None:  # nor by another process meanwhile
                result = _measure(job, model, console)
            job.saved.unlink(missing_ok=True)  # also of a command killed before this line
            if done is None:
                return result
    console.print(f"already measured: {out}", soft_wrap=True)
    return done


@dataclass(frozen=True)
class Classification:
    """One classifier to train: on which run, how, on which data, and where its result goes."""

    run: LoadedRun
    recipe: Recipe
    used: PretrainDataModule
    settings: dict[str, Any]
    epochs: int
    out: Path

    @property
    def identity(self) -> str:
        """The identity of its checkpoint: the run's, and a digest of all that it depends on."""
        begun = json_text({**self.settings, "pretraining_epochs": self.epochs})
        return f"{self.run.folder.identity}/{hashlib.sha256(begun.encode()).hexdigest()[:10]}"

    @property
    def saved(self) -> Path:
        """Its checkpoint of the last finished epoch."""
        return self.out.with_name(f"{self.out.stem}-{Path(self.identity).name}.ckpt")


def _measure(job: Classification, model: BaseMethod, console: Console) -> dict[str, Any]:
    """Train the classifier, measure it and write the result."""
    run, recipe, used, out = job.run, job.recipe, job.used, job.out
    cfg = run.cfg
    remove_parts(out.parent, f"{out.stem}-{10 * '[0-9a-f]'}.ckpt")
    train_set, test_set = labelled(used, recipe, cfg.seed)
    if not recipe.pretrained:
        model = run.untrained()
    size = min(recipe.batch_size, len(train_set))
    lr = recipe.lr * size / 256
    seed_everything(cfg.seed, verbose=False)
    classes = used.info.num_classes
    classifier = Classifier(model.backbone, model.features_dim, classes, recipe, lr)
    if not recipe.frozen:
        two_images(size, classifier, "--batch-size (or the number of labelled images)")
    view = crop_and_flip(cfg)
    loader = ResumableLoader(
        PretrainSet(train_set, Views([view], used.info), cfg.seed),
        batch_size=size,
        sampler=EpochSampler(len(train_set), seed=cfg.seed),
        num_workers=used.num_workers,
        drop_last=True,
        persistent_workers=used.num_workers > 0,
    )
    train(classifier, loader, cfg, console, job.saved, job.identity)
    device = device_of(cfg)
    tested = eval_loader(
        test_set,
        crop_size=used.crop_size,
        batch_size=256,
        num_workers=used.num_workers,
        device=device,
    )
    scores, targets = predict(classifier, tested, device)
    check_outputs(recipe.name, scores)
    result = signed(
        {
            "schema_version": SCHEMA_VERSION,
            "protocol": protocol(recipe, size, lr, view, len(train_set)),
            "name": cfg.name,
            "method": cfg.method,
            "config_hash": run.folder.hash,
            "dataset": used.info.name,
            "pretrained_on": cfg.data.dataset if recipe.pretrained else None,
            "pretraining_epochs": job.epochs if recipe.pretrained else 0,
            "settings": job.settings,
            "effective_lr": lr,
            "test_images": len(targets),
            "acc1": top_accuracy(scores, targets),
            "acc5": top_accuracy(scores, targets, 5) if classes > 5 else None,
        }
    )
    write_json(out, result)
    console.print(f"{result['protocol']}\ntop-1 {result['acc1']:.2f} %  ({out})", soft_wrap=True)
    return result


def train(
    classifier: Classifier,
    loader: ResumableLoader,
    cfg: DictConfig,
    console: Console,
    saved: Path,
    identity: str,
) -> None:
    """Train to the recipe's last epoch; resume from the saved checkpoint if there is one.

    Args:
        classifier: the classifier to train.
        loader: the training images.
        cfg: the config of the run whose backbone is used.
        console: where progress is printed.
        saved: path of the checkpoint of the last finished epoch.
        identity: identity that the checkpoint must have.

    Raises:
        UserError: the checkpoint is damaged, has another identity, or cannot be written.
    """
    callbacks: list[Callback] = [
        Divergence(saved, f"a lower --lr (it is {classifier.recipe.lr:g})"),
        SeedEpoch(cfg.seed),
        LastCheckpoint(saved, identity),
    ]
    if console.is_terminal:
        callbacks.append(RichProgressBar(leave=False))
    device = device_of(cfg)
    on_gpu = device.type == "cuda"
    quiet_libraries()
    trainer = Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[device.index] if on_gpu else 1,
        max_epochs=classifier.recipe.epochs,
        callbacks=callbacks,
        logger=False,
        plugins=[WholeCheckpointIO(), LightningEnvironment()],
        default_root_dir=saved.parent,
        enable_progress_bar=console.is_terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,
        deterministic="warn",
    )
    if resume := saved if exists(saved) else None:
        read_checkpoint(saved, identity)
        console.print(f"resuming from {saved}", soft_wrap=True)
    fit(trainer, classifier, loader, resume)


def labelled(used: PretrainDataModule, recipe: Recipe, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return the labelled share of the training images and the labelled test images.

    Raises:
        UserError: train or test has no labelled image.
    """

    def with_labels(images: ImageSet | None, side: str) -> ImageSet:
        if images is None or not bool((known := images.targets != UNLABELLED).any()):
            raise UserError(f"data set '{used.info.name}' has no labelled {side} images")
        return images if known.all() else images.subset(known.nonzero().flatten().tolist())

    train_set, test_set = with_labels(used.train_set, "training"), with_labels(used.val_set, "test")
    if recipe.labels < 1:
        train_set = train_set.subset(stratified(train_set.targets, recipe.labels, seed))
    return train_set, test_set


def crop_and_flip(cfg: Any) -> dict[str, Any]:
    """Return the run's first pipeline reduced to crop and flip."""
    first: Any = OmegaConf.to_container(cfg.augmentations[0])
    kept = {key: first[key] for key in ("rrc", "horizontal_flip", "crop_size", "mean", "std")}
    return {**kept, "num_crops": 1}


@torch.no_grad()
def predict(
    classifier: Classifier, loader: DataLoader[Any], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return scores (M, C) and targets (M,) of all images."""
    classifier = classifier.to(device).eval()

    def parts() -> Iterator[tuple[Tensor, Tensor]]:
        for X, y in loader:
            yield classifier(X.to(device)).float().cpu(), y

    scores, targets = zip(*parts(), strict=True)
    return torch.cat(scores), torch.cat(targets)


def protocol(recipe: Recipe, size: int, lr: float, view: dict[str, Any], images: int) -> str:
    """Return one line that states the protocol of the number."""
    what = "linear classifier on the frozen backbone" if recipe.frozen else "whole network"
    start = "" if recipe.pretrained else " from untrained weights"
    rrc, flip = view["rrc"], view["horizontal_flip"]["prob"]
    crop = f"random resized crop {rrc['crop_min_scale']:g}-{rrc['crop_max_scale']:g}"
    crop = crop if rrc["enabled"] else "center crop"
    return (
        f"{what}{start}, {100 * recipe.labels:g} % of the labels ({images} images), SGD, "
        f"lr {recipe.lr:g} x {size} / 256 = {lr:g}, momentum {recipe.momentum:g}, "
        f"weight decay {recipe.weight_decay:g}, cosine, {recipe.epochs} epochs, {crop}, "
        f"flip {flip:g}; last epoch"
    )


def already_there(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the saved result if it has these settings, else None, also for a damaged file."""
    try:
        found = read_signed(path)
    except UserError:
        return None
    return found if found.get("settings") == settings else None
