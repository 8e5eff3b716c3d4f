"""Composes configs and launches jobs with Hydra, for every launcher."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from solo_registry.config.compose import hydra_args, register_configs, translate
from solo_registry.config.overrides import check_override
from solo_registry.config.resolve import settled
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.worker import run_job
from solo_registry.runs.lifetime import parent_of_all

ALL_AT_ONCE = "submitit_local"  # starts every job of a batch at the same time


class HydraSession:
    """Initialised Hydra; `hydra_session` makes it.

    Args:
        overrides: arguments for Hydra itself, such as `hydra/launcher=joblib`.
        runs_dir: the folder of all runs.
    """

    def __init__(self, overrides: Sequence[str], runs_dir: str) -> None:
        self.overrides, self.runs_dir = list(overrides), runs_dir

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose the config of one run.

        Raises:
            UserError: the arguments do not make a config.
        """
        return self._compose("pretrain", self.spell(overrides))

    def plain(self, overrides: Sequence[str]) -> DictConfig:
        """Compose the config as `dyntemp pretrain OVERRIDES` does, without progress settings."""
        return self._compose("pretrain", hydra_args([*overrides, f"runs_dir={self.runs_dir}"]))

    def spell(self, overrides: Sequence[str]) -> list[str]:
        """Write a run's arguments in Hydra's syntax."""
        return hydra_args([*overrides, f"runs_dir={self.runs_dir}", "progress=lines"])

    def option(self, group: str, name: str) -> Any:
        """Return the YAML of an option of a group that is not part of a run's config: suite, space.

        Raises:
            UserError: the group has no option of this name; the message names the nearest.
        """
        known = GlobalHydra.instance().config_loader().get_group_options(group)
        if name not in known:
            raise UserError(
                f"unknown {group} '{name}'.{nearest(name, known)} Known: {', '.join(sorted(known))}"
            )
        return self._compose(f"{group}/{name}", [])[group]

    def _compose(self, name: str, overrides: list[str]) -> DictConfig:
        try:
            return settled(compose(name, overrides=overrides))
        except Exception as error:
            raise translate(error) from error

    def launcher(self) -> Any:
        """Return Hydra's launcher.

        Raises:
            UserError: the launcher is not installed, or an argument is wrong.
        """
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        for override in self.overrides:
            check_override(override)
        try:
            cfg = hydra.compose_config(
                "pretrain", [*self.overrides, f"runs_dir={self.runs_dir}"], RunMode.MULTIRUN
            )
            return Plugins.instance().instantiate_launcher(
                HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(cfg)),
                run_job,
                cfg,
            )
        except Exception as error:
            raise translate(error) from error

    def batch_size(self) -> int | None:
        """Return the number of jobs that the launcher gets at once; None means all of them."""
        local = f"hydra/launcher={ALL_AT_ONCE}" in self.overrides
        return (os.cpu_count() or 1) if local else None


@contextmanager
def hydra_session(overrides: Sequence[str], runs_dir: str) -> Iterator[HydraSession]:
    """Initialise Hydra for our configs and those of the plugins."""
    register_configs()
    hydra = HydraSession(overrides, runs_dir)
    # submitit's local jobs outlive the process that submitted them; here they would be orphans
    tied = nullcontext() if hydra.batch_size() is None else parent_of_all()
    with initialize_config_module("solo_registry.configs", version_base="1.3"), tied:
        yield hydra
