"""The checkpoint that a run goes on from."""

from __future__ import annotations

import shutil
from pathlib import Path

from omegaconf import DictConfig

from solo_registry.data.opened import OpenedData
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_data import refuse_foreign_checkpoint
from solo_registry.runs.run_folder import RunFolder, atomic_write

Found = tuple[Path, int]
"""A checkpoint and its number of epochs."""


def named_checkpoint(cfg: DictConfig, run: RunFolder, opened: OpenedData) -> Found | None:
    """Return the checkpoint that the config names; None if it names none.

    Raises:
        UserError: it does not exist, cannot be read, or belongs to another config or other images.
    """
    if not cfg.resume_from_checkpoint:
        return None
    return _found(Path(cfg.resume_from_checkpoint), cfg, run, opened)


def checkpoint_to_resume(
    named: Found | None, cfg: DictConfig, run: RunFolder, opened: OpenedData
) -> Found | None:
    """Return the checkpoint to resume from: the one that the config names, or the run's own.

    Both are of one run, so they lead to the same end. Of two, the one with more epochs is returned:
    a run that began at a named checkpoint, was killed and is started again by the same command
    then goes on from its own.

    Args:
        named: the result of `named_checkpoint`.
        cfg: the resolved config.
        run: the run's folder.
        opened: the run's images.

    Raises:
        UserError: the run's own checkpoint cannot be read, or belongs to another config.
    """
    own = None
    if cfg.auto_resume.enabled and run.checkpoint.exists():
        own = _found(run.checkpoint, cfg, run, opened)
    known = list(filter(None, (own, named)))
    if not known:
        return None
    path, epochs = max(known, key=lambda pair: pair[1])
    if not run.checkpoint.exists():  # the run needs its weights even if no epoch is left
        with atomic_write(run.checkpoint) as part:
            shutil.copyfile(path, part)
    return path, epochs


def _found(path: Path, cfg: DictConfig, run: RunFolder, opened: OpenedData) -> Found:
    refuse_foreign_checkpoint(path, cfg, opened)
    return path, int(read_checkpoint(path, run.identity)["epoch"]) + 1
