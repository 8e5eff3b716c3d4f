"""The folder of one run: its files, when it counts as finished, and how its files are written.

runs/<name>/<hash of the resolved config>/<seed>/
    config.yaml         as given            metrics.csv           a row per epoch
    resolved.yaml       as used             checkpoints/last.ckpt the last finished epoch
    data.json           what the images are result.json           written last: the run is finished
    environment.json    versions, git SHA   plots/                pictures
    cost.json           time and memory     evaluations/          other data, probes, fine-tuning
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from solo_registry.config.identity import config_hash
from solo_registry.config.json_file import read_json
from solo_registry.config.resolve import merge_schema
from solo_registry.errors import UserError
from solo_registry.runs.shapes import Result

SCHEMA_VERSION = 2
PACKAGES = (
    "solo-dyntemp", "torch", "torchvision", "lightning", "timm", "hydra-core", "omegaconf",
    "torchmetrics", "lightly", "scikit-learn", "numpy", "nvidia-dali-cuda130",
)  # fmt: skip


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
        mode = (path if path.exists() else part).stat().st_mode
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


def cannot_write(path: Path, error: OSError) -> str:
    """Return the message, one paragraph, about a `path` that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space on the disk for {path}; files saved before are complete ({error})"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write {path}: choose another folder with runs_dir=PATH"
    return f"cannot write {path}: {error}"


def json_text(content: Any) -> str:
    """Format `content` as all our JSON files are; equal content gives equal bytes."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON by `atomic_write`."""
    with atomic_write(path) as part:
        part.write_text(json_text(content), encoding="utf-8")


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
        self.metrics = path / "metrics.csv"
        self.result = path / "result.json"
        self.data = path / "data.json"  # see `run_data`
        self.error = path / "error.json"  # why it failed; the leaderboard writes it
        self.plots = path / "plots"

    @classmethod
    def of(cls, cfg: DictConfig) -> RunFolder:
        """Return the folder that belongs to a resolved config; creates nothing.

        Raises:
            ValueError: `data.digest` is not filled in, so the images are unknown.
        """
        if cfg.data.digest is None:
            raise ValueError("data.digest is not filled in: see `open_data`")
        return cls(Path(cfg.runs_dir) / cfg.name / config_hash(cfg) / str(cfg.seed))

    def open(self, given: DictConfig, cfg: DictConfig, data: dict[str, Any]) -> None:
        """Create the folder and write both configs, the record of the data and the environment.

        Args:
            given: the config as the user composed it.
            cfg: the resolved config.
            data: the content of data.json.

        Raises:
            UserError: the folder cannot be written.
        """
        for name, config in (("config.yaml", given), ("resolved.yaml", cfg)):
            with atomic_write(self.path / name) as part:
                part.write_text(OmegaConf.to_yaml(config), encoding="utf-8")
        write_json(self.data, data)
        write_json(self.path / "environment.json", environment())

    def read_result(self) -> dict[str, Any] | None:
        """Return result.json of a finished run, or None.

        Raises:
            UserError: the file cannot be read, or is no result of this schema version.
        """
        if not self.result.exists():
            return None
        result: dict[str, Any] = read_json(
            self.result, Result, "a run's result", "remove it", SCHEMA_VERSION
        )
        return result

    def read_config(self) -> DictConfig:
        """Return the resolved config.

        Raises:
            UserError: there is none, so this is no run folder.
        """
        path = self.path / "resolved.yaml"
        if not path.is_file():
            raise UserError(
                f"{self.path} is no run folder: it has no resolved.yaml. "
                "A run folder is runs/<name>/<hash>/<seed>"
            )
        try:
            return merge_schema(OmegaConf.load(path))  # type: ignore[arg-type]
        except (OmegaConfBaseException, UserError, YAMLError) as error:
            raise UserError(f"{path} is damaged: {' '.join(str(error).split())}") from error


def environment() -> dict[str, Any]:
    """Collect what a run depends on besides its config."""
    import torch

    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "argv": sys.argv,
        "cuda": torch.version.cuda if gpus else None,
        "git": git_state(),
        "gpus": gpus,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the checkout this code runs from, or None."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not a file in another's checkout
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return None
