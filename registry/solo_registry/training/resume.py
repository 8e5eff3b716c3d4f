"""The checkpoint that a run goes on from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from solo_registry.data.opened import OpenedData
from solo_registry.errors import UserError
from solo_registry.paths import exists
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_data import refuse_foreign_checkpoint
from solo_registry.runs.run_folder import RunFolder, atomic_write


@dataclass(frozen=True)
class Found:
    """A checkpoint.

    Attributes:
        path: the file.
        epochs: finished epochs.
        steps: steps of the optimizer.
        inside: whether it was saved inside the epoch after these.
    """

    path: Path
    epochs: int
    steps: int
    inside: bool


def named_checkpoint(cfg: DictConfig, run: RunFolder, opened: OpenedData) -> Found | None:
    """Return the checkpoint that the config names; None if it names none.

    Raises:
        UserError: it does not exist, cannot be read, or belongs to another config or other images.
    """
    if not cfg.resume_from_checkpoint:
        return None
    try:
        return _found(Path(cfg.resume_from_checkpoint), cfg, run, opened)
    except UserError as error:
        raise UserError(f"resume_from_checkpoint: {error}") from error


def checkpoint_to_resume(
    named: Found | None, cfg: DictConfig, run: RunFolder, opened: OpenedData
) -> Found | None:
    """Return the checkpoint to resume from: the one that the config names, or one of the run's own.

    All are of one run, so they lead to the same end. The one with the most steps is returned: a
    run that began at a named checkpoint, was killed and is started again by the same command then
    goes on from its own.

    Args:
        named: the result of `named_checkpoint`.
        cfg: the resolved config.
        run: the run's folder.
        opened: the run's images.

    Raises:
        UserError: the run's own checkpoint cannot be read, or belongs to another config.
    """
    own = (run.checkpoint, run.inside) if cfg.auto_resume.enabled else ()
    known = [_found(path, cfg, run, opened) for path in own if exists(path)]
    known += [named] if named else []
    if not known:
        return None
    # of one step, the end of an epoch is later than its last save inside
    found = max(known, key=lambda one: (one.steps, not one.inside))
    if not found.inside:  # a run that was killed before it removed that file
        run.inside.unlink(missing_ok=True)
    if not found.inside and not exists(run.checkpoint):
        # the run needs its weights even if no epoch is left
        with atomic_write(run.checkpoint) as part:
            shutil.copyfile(found.path, part)
    return found


def _found(path: Path, cfg: DictConfig, run: RunFolder, opened: OpenedData) -> Found:
    refuse_foreign_checkpoint(path, cfg, opened)
    checkpoint = read_checkpoint(path, run.identity)
    inside = "inside" in checkpoint
    epochs = int(checkpoint["epoch"]) + (not inside)
    return Found(path, epochs, int(checkpoint["global_step"]), inside)
