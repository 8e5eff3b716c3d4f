"""What is evaluated: a run on disk, and other data than it was trained on."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.errors import UserError, nearest
from solo_registry.plugins import load_plugins
from solo_registry.schema import DataConfig
from solo_registry.training.run_folder import RunFolder


def open_run(path: Path) -> tuple[RunFolder, Path | None]:
    """Return the run at `path`, and the checkpoint if `path` is one.

    Raises:
        UserError: `path` is neither a run folder nor a checkpoint inside one.
    """
    if not path.exists():
        siblings = [str(other) for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(f"no run folder or checkpoint at {path}.{nearest(str(path), siblings)}")
    load_plugins()
    checkpoint = path if path.is_file() else None
    run = RunFolder(path.absolute().parents[1] if checkpoint else path)
    run.read_config()
    return run, checkpoint


def transfer_data(
    cfg: DictConfig,
    own: PretrainDataModule,
    name: str,
    *,
    train_path: str | None = None,
    val_path: str | None = None,
    download: bool = False,
) -> PretrainDataModule:
    """Load another data set as the run's backbone saw its own: channels, size, normalisation.

    Mean and std are those of the pretraining data, to which the weights are fitted.

    Args:
        cfg: the run's config.
        own: the run's data.
        name: name of the other data set.
        train_path: where it lies; the run's `data.train_path` by default.
        val_path: its test images, for image folders.
        download: fetch it if it is not on disk.

    Raises:
        UserError: an unknown name, or the data are not there.
    """
    there = cfg.copy()
    there.data = DataConfig(
        dataset=name,
        train_path=train_path or cfg.data.train_path,
        val_path=val_path,
        download=download,
        channels=own.info.channels,
        num_workers=cfg.data.num_workers,
    )
    there.optimizer.batch_size = 1  # nothing is trained in its batches
    for augmentation in there.augmentations:
        augmentation.mean, augmentation.std = list(own.info.mean), list(own.info.std)
    return build_data(there)


def aside(run: RunFolder, name: str, data: str | None, epochs: int | None) -> Path:
    """Path of a JSON beside result.json; other data and unfinished checkpoints are in its name.

    >>> str(aside(RunFolder(Path("run")), "linear", "cifar100", 3))
    'run/evaluations/cifar100-linear-epoch-3.json'
    """
    words = [data, name, epochs and f"epoch-{epochs}"]
    return run.path / "evaluations" / f"{'-'.join(word for word in words if word)}.json"
