"""A run on disk, opened for measuring: its config, its weights, and data to measure it on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.data_schema import DataConfig
from solo_registry.config.identity import config_hash, names_of
from solo_registry.config.own_data import is_address
from solo_registry.config.resolve import expanded, merge_schema, resolve
from solo_registry.config.text_file import file_digest
from solo_registry.config.undecided import undecided
from solo_registry.data.from_images import share_to_hold_out
from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.opened import open_data
from solo_registry.data.sets import SetInfo
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod
from solo_registry.paths import is_file
from solo_registry.runs.find import find_run
from solo_registry.runs.model import fill, read_checkpoint, rebuild_method
from solo_registry.runs.read import read_text, read_yaml
from solo_registry.runs.run_data import read_info, require_digest
from solo_registry.runs.run_folder import RunFolder

# follow from this machine and its disk
OF_HERE = (
    "data.digest", "data.long_tail.index_hash", "backbone.weights_digest",
    "optimizer.effective_lr", "optimizer.effective_classifier_lr",
)  # fmt: skip


class LoadedRun:
    """A run folder or checkpoint that commands work on; `data` opens images only when called.

    Args:
        path: a run folder, a checkpoint inside one, or what else `find_run` takes.

    Attributes:
        folder: the run folder.
        cfg: its resolved config.
        checkpoint: the checkpoint to measure; the last one if `path` is a run folder.
        is_last: whether `path` is a run folder.

    Raises:
        UserError: there is no such run, or its config is not that of its folder.
    """

    def __init__(self, path: Path) -> None:
        path = find_run(path)
        load_plugins()
        self.is_last = not is_file(path)
        self.folder = RunFolder(path if self.is_last else path.absolute().parents[1])
        self.checkpoint = self.folder.checkpoint if self.is_last else path
        self.cfg = self.folder.read_config()
        self.names = [f"{name}/{self.cfg.seed}" for name in names_of(self.cfg)]
        if re.fullmatch(r"[0-9a-f]{10}/\d+", self.folder.identity):  # else it was moved or renamed
            if self.folder.identity not in self.names:
                raise UserError(
                    f"{self.folder.path}/resolved.yaml does not belong there or is damaged: its "
                    f"config is {self.names[0]}, its folder {self.folder.identity}"
                )
        else:
            self.folder.hash = config_hash(self.cfg)

    def untrained(self, *, initial: bool = True) -> BaseMethod:
        """Build the method with its initial weights; needs no images.

        Args:
            initial: whether `backbone.weights` are loaded; false where a checkpoint's follow.
        """
        return rebuild_method(self.cfg, initial=initial)

    def has_start(self) -> bool:
        """Whether the initial weights can be made: from the seed, or from a file still there."""
        start = self.cfg.backbone.weights
        if start is None:
            return True
        there = is_file(Path(start))
        return there and file_digest(start, "backbone.weights") == self.cfg.backbone.weights_digest

    def read_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint.

        Raises:
            UserError: it cannot be read, is damaged, or is not of this run.
        """
        return read_checkpoint(self.checkpoint, *self.names)

    def load_weights(self, model: BaseMethod) -> dict[str, Any]:
        """Load the checkpoint's weights into `model` and return the checkpoint."""
        checkpoint = self.read_checkpoint()
        fill(model, checkpoint, self.checkpoint)
        return checkpoint

    def recipe(self) -> str:
        """Return the text of config.yaml, after checking that it leads to this run.

        Raises:
            UserError: it cannot be read, is damaged, or belongs to another run.
        """
        path = self.folder.path / "config.yaml"
        try:
            own = merge_schema(read_yaml(path))
            # what follows from this machine and its disk is taken from the run
            devices, nodes = own.devices, own.num_nodes
            own.devices = own.num_nodes = 1
            own.data.long_tail.index_file, own.evaluation.enabled = None, False
            own.backbone.weights = None
            own = resolve(own)
            own.devices, own.num_nodes = devices, nodes
            for key in (*OF_HERE, *undecided(own)):
                OmegaConf.update(own, key, OmegaConf.select(self.cfg, key))
            fits = not {f"{name}/{own.seed}" for name in names_of(own)}.isdisjoint(self.names)
        except (OmegaConfBaseException, UserError) as error:
            raise UserError(f"{path} is no config of this run: {error}") from error
        if not fits:
            raise UserError(f"{path} is damaged, or belongs to another run than {self.names[0]}")
        return read_text(path)

    def data(
        self,
        other: str | None = None,
        *,
        train_path: str | None = None,
        val_path: str | None = None,
        download: bool = False,
        no_labels: bool = False,
    ) -> PretrainDataModule:
        """Load the run's own data, or other data in the form that its backbone expects.

        Other data get the run's channels, size, mean and std, because its weights fit these. If
        they have labels but no test images, a share of each class is held out, as for a run on
        them.

        Args:
            other: name of another data set; None means the run's own.
            train_path: path of the other set; the run's `data.train_path` by default.
            val_path: path of its test images, for image folders.
            download: whether to download it if it is not on disk.
            no_labels: whether its images are taken without labels.

        Raises:
            UserError: an unknown name, data that are not there, or own data that have changed
                since the run.
        """
        cfg = self.cfg.copy()
        if other is None:
            opened = open_data(cfg.data)
            who = f"{self.folder.path} was trained on"
            cure = f"Put them back, or name others: --data {cfg.data.dataset} --data-path FOLDER"
            require_digest(cfg.data.digest, opened, self.folder, who, cure)
            return build_data(cfg, opened)
        info = self.info()
        cfg.data = DataConfig(
            dataset=other,
            train_path=placed("--data-path", train_path) or cfg.data.train_path,
            val_path=placed("--val-path", val_path),
            streaming=train_path is not None and is_address(train_path),
            download=download,
            no_labels=no_labels,
            channels=info.channels,
            num_workers=cfg.data.num_workers,
        )
        cfg.optimizer.batch_size = 1  # nothing is trained in its batches
        for augmentation in cfg.augmentations:
            augmentation.mean, augmentation.std = list(info.mean), list(info.std)
        opened = open_data(cfg.data)
        cfg.data.validation_fraction = share_to_hold_out(cfg, opened)
        return build_data(cfg, opened)

    def info(self) -> SetInfo:
        """Return the facts about the run's own data; needs no images."""
        return read_info(self.folder) or build_data(self.cfg).info

    def file(
        self, name: str, epochs: int | None, other: str | None = None, digest: str | None = None
    ) -> Path:
        """Return the path of a JSON beside result.json.

        Args:
            name: name of the measurement.
            epochs: epochs done, for an unfinished run or an earlier checkpoint.
            other: name of the data set, if it is not the run's own.
            digest: digest of that other data set.
        """
        words = [other and f"{other}-{str(digest)[:8]}", name, epochs and f"epoch-{epochs}"]
        name = "-".join(word for word in words if word).replace("/", "-")
        return self.folder.path / "evaluations" / f"{name}.json"


def placed(option: str, path: str | None) -> str | None:
    """Return a path with the home folder in place of `~`; an address, or None, as it is."""
    return expanded(option, path) if path and not is_address(path) else path
