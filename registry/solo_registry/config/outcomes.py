"""The jobs of one command, whichever processes run them: their arguments and what they return."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from solo_registry.paths import exists


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
        return exists(Path(self.folder) / "begun")

    def all(self) -> list[Any]:
        """Return the outcomes in the order of the jobs."""
        files = sorted(Path(self.folder).glob("*.json"), key=lambda file: int(file.stem))
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _write(self, name: str, text: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (Path(self.folder) / name).write_bytes(text.encode())


def stand_as(command: Sequence[str]) -> None:
    """Let Lightning start each further device of a run by this command of ours.

    It starts again the program that runs here, by the name of `__main__` and `sys.argv`. In a
    process of a launcher that is the launcher.

    Args:
        command: the command and its arguments, such as `["pretrain", "seed=3"]`.
    """
    import __main__

    sys.argv = [str(Path(__file__).parents[1] / "__main__.py"), *command]
    __main__.__spec__ = find_spec("solo_registry.__main__")


@contextlib.contextmanager
def one_job(command: Sequence[str]) -> Iterator[None]:
    """Let the further devices of a job of `--multirun` run this job, and not all of them.

    By the environment that Lightning leaves, the next job would take its devices for started.

    Args:
        command: the command of our program, and its arguments for every job.
    """
    import __main__

    before, environment = (sys.argv, __main__.__spec__), dict(os.environ)
    stand_as([*command, *HydraConfig.get().overrides.task])
    try:
        yield
    finally:
        sys.argv, __main__.__spec__ = before
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
