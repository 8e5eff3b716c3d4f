"""What the jobs of one command returned, whichever processes ran them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf


class Outcomes:
    """Files in a folder that the command and its jobs share.

    With joblib, ray or submitit a job runs in another process and gets a copy of the task, so what
    it writes into a list of the command is lost. On another host the folder does not exist: then
    the outcome stays unknown.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def begin(self) -> None:
        """Note that a job has got its config."""
        self._write("begun", "")

    def add(self, outcome: Any) -> None:
        """Keep what the running job's task returned: text, numbers and lists of them."""
        job = HydraConfig.get().job
        number = 0 if OmegaConf.is_missing(job, "num") else job.num
        self._write(f"{number}.json", json.dumps(outcome))

    @property
    def begun(self) -> bool:
        """Whether a job has got its config."""
        return (Path(self.folder) / "begun").exists()

    def all(self) -> list[Any]:
        """Return the outcomes in the order of the jobs."""
        files = sorted(Path(self.folder).glob("*.json"), key=lambda file: int(file.stem))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _write(self, name: str, text: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (Path(self.folder) / name).write_text(text, encoding="utf-8")
