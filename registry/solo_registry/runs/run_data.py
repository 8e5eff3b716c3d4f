"""data.json of a run: a record of its images, to notice changed images and to work without them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_registry.config.identity import settings_hash
from solo_registry.data.opened import OpenedData
from solo_registry.data.sets import SetInfo
from solo_registry.errors import UserError
from solo_registry.paths import exists
from solo_registry.runs.read import read_signed, signed
from solo_registry.runs.run_folder import RunFolder

SCHEMA_VERSION = 1
SHOWN = 3  # number of differences that a message names


def data_record(cfg: DictConfig, opened: OpenedData, info: SetInfo) -> dict[str, Any]:
    """Return the content of data.json.

    Args:
        cfg: the resolved config.
        opened: the data of the config.
        info: facts about the data, with the mean and std that the run uses.
    """
    record = {
        "schema_version": SCHEMA_VERSION,
        "digest": opened.digest,
        "settings": settings_hash(cfg),  # the run's hash without its data
        "paths": {"train": cfg.data.train_path, "val": cfg.data.val_path},
        "images": opened.counts(),
        "info": asdict(info),
    }
    return signed(record)


def read_record(run: RunFolder) -> dict[str, Any] | None:
    """Return data.json of a run; None if it does not exist, cannot be read or has been changed."""
    try:
        record = read_signed(run.data)
        _ = record["digest"], record["settings"], record["paths"], record["images"], record["info"]
    except (UserError, KeyError):
        return None
    return record


def read_info(run: RunFolder) -> SetInfo | None:
    """Return the facts about a run's data; None for an old run without data.json."""
    record = read_record(run)
    if record is None:
        return None
    lists = {key: tuple(value) for key, value in record["info"].items() if isinstance(value, list)}
    return SetInfo(**{**record["info"], **lists})


def require_digest(
    wanted: str | None, opened: OpenedData, run: RunFolder | None, what: str, cure: str
) -> None:
    """Refuse images whose digest differs from the one that a run or an argument requires.

    Args:
        wanted: the required digest; None accepts any images.
        opened: the images.
        run: the run that was trained on the required images; its record tells what changed.
        what: who requires the digest, for the message.
        cure: the remedy, for the message.

    Raises:
        UserError: the digest differs; the message says what changed, if that is known.
    """
    if wanted in (None, opened.digest):
        return
    record = None if run is None else read_record(run)
    change = f"{changes(record['images'], opened.counts())} " if record else ""
    raise UserError(
        f"{what} other images than those that are there: digest {wanted}, found {opened.digest}. "
        f"{change}{cure}"
    )


def refuse_foreign_checkpoint(path: Path, cfg: DictConfig, opened: OpenedData) -> None:
    """Refuse a checkpoint whose run has the same settings but was trained on other images.

    Raises:
        UserError: the record in the checkpoint's run folder names other images.
    """
    owner = RunFolder(path.absolute().parent.parent)
    record = read_record(owner)
    if record is not None and record["settings"] == settings_hash(cfg):
        cure = "Put them back to go on with it"
        require_digest(record["digest"], opened, owner, f"{path} was trained on", cure)


def refuse_changed_data(run: RunFolder, cfg: DictConfig, opened: OpenedData) -> None:
    """Refuse to start a new run if an unfinished run has the same settings on changed images.

    Raises:
        UserError: there is such a run; the message says what changed and what to do.
    """
    if run.begun() or not cfg.auto_resume.enabled:
        return
    settings = settings_hash(cfg)
    for path in sorted(run.path.parents[1].glob(f"*/{run.path.name}/data.json")):
        other = RunFolder(path.parent)
        record = read_record(other)
        begun = other.begun() and not exists(other.result)
        if not (record and begun) or record["settings"] != settings:
            continue
        paths = {"train": cfg.data.train_path, "val": cfg.data.val_path}
        if record["paths"] == paths and record["digest"] != opened.digest:
            raise UserError(
                f"the images have changed since {other.path} was begun: "
                f"{changes(record['images'], opened.counts())} Put them back to go on with that "
                "run, or start a new one on these with auto_resume.enabled=false"
            )


def changes(before: dict[str, dict[str, int]], now: dict[str, dict[str, int]]) -> str:
    """Describe how the numbers of images differ.

    Args:
        before: earlier number of images by split and class.
        now: number of images by split and class now.

    >>> changes({"train": {"cat": 2, "dog": 2}}, {"train": {"cat": 3, "dog": 2}})
    'Of train there were 4 images, now there are 5 (cat: 2, now 3).'
    >>> changes({"train": {"cat": 2}}, {"train": {"cat": 2}})
    'The numbers of images are the same: names, sizes, pixels or labels of some differ.'
    """
    texts = []
    for split in sorted({*before, *now}):
        old, new = before.get(split, {}), now.get(split, {})
        if old == new:
            continue
        names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        shown = [f"{name}: {old.get(name, 0)}, now {new.get(name, 0)}" for name in names if name]
        more = f", and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        detail = f" ({', '.join(shown[:SHOWN])}{more})" if shown else ""
        total, there = sum(old.values()), sum(new.values())
        texts.append(f"Of {split} there were {total} images, now there are {there}{detail}.")
    return " ".join(texts) or (
        "The numbers of images are the same: names, sizes, pixels or labels of some differ."
    )
