"""The folder of one run: its files, when it counts as finished, and how its files are written.

runs/<name>/<hash of the resolved config>/<seed>/
    config.yaml         as given            metrics.csv           a row per epoch
    resolved.yaml       as used             checkpoints/last.ckpt the last finished epoch
    data.json           what the images are result.json           written last: the run is finished
    environment.json    versions, git SHA   plots/                pictures
    cost.json           time and memory     result.sha256         of result.json, metrics.csv
    probe.safetensors   the linear probe    evaluations/          other data, probes, fine-tuning
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.identity import config_hash
from solo_registry.config.json_file import read_shaped
from solo_registry.config.resolve import merge_schema
from solo_registry.config.undecided import undecided
from solo_registry.errors import UserError
from solo_registry.paths import exists, is_dir
from solo_registry.runs.environment import change, environment, known_parts, with_part
from solo_registry.runs.read import checksum, read_text, read_yaml, sealed
from solo_registry.runs.read import json_text as json_text  # used from here by other rooms
from solo_registry.runs.shapes import Result

SCHEMA_VERSION = 2


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on exit it is renamed to `path` in one step.

    If anything fails before, a full disk included, the old file stays unchanged. The new file gets
    the permissions of the old file, or those of any new file, whatever wrote the temporary file.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = (path if exists(path) else part).stat().st_mode
        part.unlink()
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if part.stat().st_mode != mode:  # safetensors, for example, writes files only we can read
            part.chmod(stat.S_IMODE(mode))
        part.replace(path)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on exit its files get into `path`.

    A new folder appears in one step. In one that exists, other files stay, and the file `last` is
    there only when all are.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        if not exists(path):
            part.rename(path)
            return
        (path / last).unlink(missing_ok=True)
        for file in sorted(part.iterdir(), key=lambda file: file.name == last):
            file.replace(path / file.name)
    except OSError as error:
        raise UserError(cannot_write(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def parts(folder: Path, name: str = "*") -> Iterator[Path]:
    """Yield what killed or running writes of the files `name` have left in a folder so far."""
    return folder.glob(f".{name}.[0-9]*.part")


def remove_parts(folder: Path, name: str = "*") -> None:
    """Remove what killed writes of the files `name` (a pattern) have left in a folder.

    Call it only while holding the lock of these files: another process's part would go too.
    """
    for part in parts(folder, name):
        if is_dir(part):
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> str:
    """Return the message, one paragraph, about a `path` that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space on the disk for {path}; files saved before are complete ({error})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {path}: choose another folder with runs_dir=PATH"
    return f"cannot write {path}: {error}"


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 by `atomic_write`, with the same bytes on each system.

    Python's own `write_text` ends the lines in Windows' way on Windows, and no checksum would fit.
    """
    with atomic_write(path) as part:
        part.write_bytes(text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON by `atomic_write`."""
    write_text(path, json_text(content))


class RunFolder:
    """One run on disk.

    Args:
        path: the seed's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        place = path.absolute() if path.parent.name else path.resolve()  # resolve: "." or "5"
        self.hash = place.parent.name  # of the config
        self.identity = f"{self.hash}/{place.name}"  # and the seed
        self.checkpoint = path / "checkpoints" / "last.ckpt"
        self.inside = path / "checkpoints" / "inside.ckpt"  # see `training.inside_epoch`
        self.metrics = path / "metrics.csv"
        self.result = path / "result.json"
        self.checksum = path / "result.sha256"
        self.data = path / "data.json"  # see `run_data`
        self.probe = path / "probe.safetensors"  # see `evaluation.linear_head`
        self.error = path / "error.json"  # why it failed; the leaderboard writes it
        self.plots = path / "plots"

    @classmethod
    def of(cls, cfg: DictConfig) -> RunFolder:
        """Return the folder that belongs to a resolved config; creates nothing.

        Raises:
            ValueError: `data.digest`, or a key that the images decide, is not filled in.
        """
        if cfg.data.digest is None or undecided(cfg):
            raise ValueError("data.digest or a key that the images decide is null: see `completed`")
        return cls(Path(cfg.runs_dir) / cfg.name / config_hash(cfg) / str(cfg.seed))

    def open(
        self, given: DictConfig, cfg: DictConfig, data: dict[str, Any], epochs: int = 0
    ) -> str:
        """Create the folder and write both configs, the record of the data and the environment.

        Args:
            given: the config as the user composed it.
            cfg: the resolved config.
            data: the content of data.json.
            epochs: epochs done, of which the run goes on.

        Returns:
            How the environment differs from that of the epochs before; empty if it does not.

        Raises:
            UserError: the folder cannot be written.
        """
        for name, config in (("config.yaml", given), ("resolved.yaml", cfg)):
            write_text(self.path / name, sealed(OmegaConf.to_yaml(config)))
        write_json(self.data, data)
        path = self.path / "environment.json"
        before = known_parts(path, epochs)
        now = environment()
        write_json(path, now | {"parts": with_part(before, now, epochs)})
        return change(before, now)

    def remove_parts(self) -> None:
        """Remove what killed writes have left of the files that the run's lock protects."""
        for folder in self._folders:
            remove_parts(folder)

    def has_parts(self) -> bool:
        """Whether a write has not ended, or was killed."""
        return any(any(parts(folder)) for folder in self._folders)

    @property
    def _folders(self) -> tuple[Path, ...]:
        return self.path, self.checkpoint.parent, self.plots

    def begun(self) -> bool:
        """Whether a checkpoint of the run is there, after an epoch or inside one."""
        return exists(self.checkpoint) or exists(self.inside)

    def progress(self) -> list[int | None]:
        """Return when result and checkpoints were written; None for a file that is not there.

        Two equal answers mean that no process has worked on the run in between.
        """
        files = (self.result, self.checkpoint, self.inside)
        return [file.stat().st_mtime_ns if exists(file) else None for file in files]

    def write_result(self, result: dict[str, Any]) -> None:
        """Write result.json, and checksums of it and of metrics.csv beside it, as `sha256sum` does.

        The checksum is written first, together with that of the result before: whenever this
        process is killed, one of the two fits. A run that is only measured again keeps the checksum
        that metrics.csv had after its training.
        """
        before: list[str] = []
        kept: list[str] = []
        if exists(self.result):
            before = [self._line(self.result, read_text(self.result))]
            lines = read_text(self.checksum).splitlines() if exists(self.checksum) else []
            kept = [line for line in lines if line.endswith(self.metrics.name)]
        elif exists(self.metrics):
            kept = [self._line(self.metrics, read_text(self.metrics))]
        own = self._line(self.result, json_text(result))
        self._write_checksums(own, *before, *kept)
        write_json(self.result, result)
        self._write_checksums(own, *kept)

    def _line(self, file: Path, text: str) -> str:
        return f"{checksum(text)}  {file.name}"

    def _write_checksums(self, *lines: str) -> None:
        write_text(self.checksum, "".join(f"{line}\n" for line in lines))

    def read_result(self) -> dict[str, Any] | None:
        """Return result.json of a finished run, or None.

        Raises:
            UserError: the file cannot be read, or is no result of this schema version, or has been
                changed.
        """
        if not exists(self.result):
            return None
        result: dict[str, Any] = read_shaped(
            self.result, Result, "a run's result", "remove it", SCHEMA_VERSION
        )
        self._refuse_changed(self.result, "remove it, and the run is measured again")
        return result

    def refuse_changed_metrics(self) -> None:
        """Raise UserError if metrics.csv of a finished run is not what its training wrote."""
        if exists(self.metrics):
            cure = f"copy it again, or remove {self.path} and train again"
            self._refuse_changed(self.metrics, cure)

    def _refuse_changed(self, file: Path, cure: str) -> None:
        known = read_text(self.checksum) if exists(self.checksum) else None
        # runs of older versions have no checksum of metrics.csv
        listed = known is not None and (file == self.result or f"  {file.name}\n" in known)
        if listed and checksum(read_text(file)) not in str(known):
            raise UserError(f"{file} is not what was written, by {self.checksum.name}: {cure}")

    def read_config(self) -> DictConfig:
        """Return the resolved config.

        Raises:
            UserError: there is none, so this is no run folder; or it is damaged.
        """
        path = self.path / "resolved.yaml"
        if not exists(path):
            raise UserError(
                f"{self.path} is no run folder: it has no resolved.yaml. "
                "A run folder is runs/<name>/<hash>/<seed>"
            )
        cfg = read_yaml(path)
        try:
            return merge_schema(cfg)
        except (OmegaConfBaseException, UserError) as error:
            raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from error
