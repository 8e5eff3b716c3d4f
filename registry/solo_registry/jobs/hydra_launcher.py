"""Composes configs and launches jobs with Hydra, for every launcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.compose import hydra_args, register_configs, translate
from solo_registry.config.devices import cores
from solo_registry.config.given import check
from solo_registry.config.overrides import check_override
from solo_registry.config.resolve import settled
from solo_registry.config.text_file import read_yaml
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.worker import run_job
from solo_registry.runs.lifetime import parent_of_all

ALL_AT_ONCE = "submitit_local"  # starts every job of a batch at the same time


def is_file(name: str) -> bool:
    """Whether the name of an option is the path of a file.

    >>> is_file("suites/mine.yaml"), is_file("temperature")
    (True, False)
    """
    return name.endswith((".yaml", ".yml"))


def short_name(name: str) -> str:
    """Return the name of an option, of a file without its folder and ending.

    >>> short_name("suites/mine.yaml"), short_name("temperature")
    ('mine', 'temperature')
    """
    return Path(name).stem if is_file(name) else name


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

        Args:
            group: the group.
            name: an option of it, or the path of a file `*.yaml`. A list `defaults` in the file
                names options or files that it builds on.

        Raises:
            UserError: the group has no option of this name; the message names the nearest. Or the
                file cannot be read, or holds more than values.
        """
        if is_file(name):
            return self._file(group, Path(name).expanduser())
        known = GlobalHydra.instance().config_loader().get_group_options(group)
        if name not in known:
            raise UserError(
                f"unknown {group} '{name}'.{nearest(name, known)} Known: "
                f"{', '.join(sorted(known))}; or give the path of a file, {group}=mine.yaml"
            )
        return self._compose(f"{group}/{name}", [])[group]

    def _file(self, group: str, path: Path, seen: tuple[Path, ...] = ()) -> Any:
        """Read a file that stands for an option, and what it builds on."""
        node = read_yaml(path, group)
        plain = OmegaConf.to_container(node)
        if not isinstance(plain, dict):
            raise UserError(f"{group}={path} must hold keys with values")
        bases = plain.pop("defaults", [])
        check(plain, path)
        if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
            raise UserError(f"{path}: defaults must be a list of names or files, got {bases}")
        parts: list[Any] = []
        for base in bases:
            if not is_file(base):
                parts += [self.option(group, base)] if base != "_self_" else []
            elif (beside := (path.parent / base).resolve()) in (*seen, path.resolve()):
                raise UserError(f"{path}: defaults lead back to {base}")
            else:
                parts.append(self._file(group, beside, (*seen, path.resolve())))
        return OmegaConf.merge(*parts, plain)

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
        return cores() if local else None


@contextmanager
def hydra_session(overrides: Sequence[str], runs_dir: str) -> Iterator[HydraSession]:
    """Initialise Hydra for our configs and those of the plugins."""
    register_configs()
    hydra = HydraSession(overrides, runs_dir)
    # submitit's local jobs outlive the process that submitted them; here they would be orphans
    tied = nullcontext() if hydra.batch_size() is None else parent_of_all()
    with initialize_config_module("solo_registry.configs", version_base="1.3"), tied:
        yield hydra
