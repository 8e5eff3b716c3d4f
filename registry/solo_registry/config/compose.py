"""Composing a run's config with Hydra, and telling its errors to people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hydra
from hydra import compose, initialize_config_module
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.given import FOLDER, OURS, GivenFolder, compare_stem, find_given
from solo_registry.config.hints import no_flag, options_of
from solo_registry.config.hydra_parser import objects_as_help
from solo_registry.config.keys import all_keys
from solo_registry.config.outcomes import Outcomes, one_job
from solo_registry.config.overrides import LAUNCHERS, check_override, how_to_write, key_of, quoted
from solo_registry.config.own_data import no_such, with_own_data
from solo_registry.config.pages import help_page
from solo_registry.config.resolve import expanded, explain, settled
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError, nearest, told

# those of Hydra's flags that we pass on; others would read a pickle or search further folders
SHORT = {
    "-cn": "--config-name", "-cp": "--config-path", "-c": "--cfg", "-p": "--package",
    "-m": "--multirun", "-r": "--run", "-h": "--help",
}  # fmt: skip
FLAGS_WITH_VALUE = ("--config-name", "--config-path", "--cfg", "--package")
MULTIRUN = "--multirun"
FLAGS = (MULTIRUN, "--run", "--resolve", "--help", "--version", *FLAGS_WITH_VALUE)
GROUPS = ("method", "data", "augmentations", "recipe")  # those of a run
DEEPEST = 200  # brackets of a value; Python reads numbers of at most 4,300 digits
OPEN_SECTIONS = ("backbone.kwargs.", "optimizer.kwargs.", "method_kwargs.temperature_kwargs.")
DERIVED = {item.name for item in all_keys(PretrainConfig) if item.declared.derived}


class PluginConfigs(SearchPathPlugin):
    """Lets Hydra find the YAML files of every plugin, and those that the user names."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the plugins' config packages; put the folder of `--config-path` first."""
        if folder := FOLDER.get():
            search_path.prepend("given", f"given://{folder}", anchor="main")
        for package in load_plugins()[1:]:
            search_path.append(provider=package, path=f"pkg://{package}")


def run_with_config(
    task: Callable[[DictConfig], Any],
    args: Sequence[str],
    finish: Callable[[list[Any]], None] | None = None,
) -> None:
    """Compose the config from a command's arguments and hand it to `task`.

    Args:
        task: called once, or once per job with `--multirun`, perhaps in another process.
        args: Hydra's overrides and flags.
        finish: called at the end, also after errors, with what the tasks returned.

    Raises:
        UserError: the arguments do not make a config; the text names the nearest right one.
    """
    register_configs()
    flags, overrides = split_args(args)
    if "--help" in flags:
        print(help_of(args), end="")
        return
    before = sys.argv
    methods = [
        override.partition("=")[2] for override in overrides if override.startswith("method=")
    ]
    own = has_own_yaml(flags)
    if own:  # there `method` is a key beside method_kwargs, which stay as they are
        overrides = [override for override in overrides if not override.startswith("method=")]
    else:
        methods = []
    here = os.getpid()
    failures: list[UserError] = []
    several = sweeps(flags)
    for given in overrides:
        if not several and given.startswith("hydra/launcher=") and not given.endswith("=basic"):
            raise UserError(f"{given} starts the jobs of --multirun: add it, also for one job")
    again = [*before[1 : len(before) - len(args)], *(flag for flag in flags if flag != MULTIRUN),
             *(f"method={method}" for method in methods)]  # fmt: skip

    def guarded(cfg: DictConfig) -> None:
        outcomes.begin()
        for method in methods:
            OmegaConf.update(cfg, "method", method, force_add=True)
        sys.argv = before  # what Lightning runs again for each further device
        try:
            settled(cfg)
            if own:
                compare_stem(cfg)
            with one_job(again) if several else nullcontext():
                outcomes.add(task(cfg))
        except UserError as error:  # Hydra would print a line of its own before ours
            if os.getpid() != here:  # a launcher's process, which hands the error over
                raise
            failures.append(error)

    # Hydra would print a shortened stack trace and exit with 1; we tell errors ourselves.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    main = hydra.main(
        version_base="1.3", config_path="pkg://solo_registry.configs", config_name="pretrain"
    )
    folder = FOLDER.set(find_given(*own) if own else None)
    with TemporaryDirectory() as shared:
        outcomes = Outcomes(shared)
        try:
            sys.argv = [before[0], *hydra_args([*flags, *overrides])]
            with objects_as_help():
                main(guarded)()
        except Exception as error:
            if outcomes.begun:
                raise
            raise translate(error) from error  # composing failed, so the arguments are to blame
        finally:
            sys.argv = before
            FOLDER.reset(folder)
            if finish:
                finish(outcomes.all())
    if failures:  # with --multirun the other jobs have run
        raise failures[0]


def register_configs() -> None:
    """Let Hydra know the schema and the plugins' YAML files."""
    store = ConfigStore.instance()
    if "schema.yaml" not in store.repo:  # a sixth of the time of composing
        store.store(name="schema", node=PretrainConfig)
    Plugins.instance().register(PluginConfigs)
    Plugins.instance().register(GivenFolder)


def help_of(args: Sequence[str]) -> str:
    """Return the help with the values that some arguments give; `--config-name` and sweeps apart.

    Raises:
        UserError: the arguments do not make a config.
    """
    flags, overrides = split_args(args)
    if sweeps(flags):
        overrides = [override for override in overrides if "," not in override]
    cfg = compose_config(overrides)
    chosen = any(override.startswith(("method=", "recipe=")) for override in overrides)
    return help_page(
        cfg, {group: options_of(group) for group in GROUPS}, cfg.method if chosen else None
    )


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a run from overrides, in this process and without Hydra's command line.

    Raises:
        UserError: the overrides do not make a config; the text names the nearest right one.
    """
    register_configs()
    try:
        with initialize_config_module("solo_registry.configs", version_base="1.3"):
            return settled(compose("pretrain", overrides=hydra_args(overrides)))
    except Exception as error:
        raise translate(error) from error


def has_own_yaml(flags: Sequence[str]) -> tuple[str, str] | None:
    """Return folder and name of the YAML that stands in place of our pretrain.yaml, if any does."""
    given = dict(pairwise([flag.removesuffix(".yaml") for flag in flags]))
    if "--config-path" not in given:
        return None
    return flags[flags.index("--config-path") + 1], given.get("--config-name", "pretrain")


def hydra_args(args: Sequence[str]) -> list[str]:
    """Write the user's arguments as Hydra wants them.

    Flags go first, `backbone=NAME` is its key, sections that take any key need no `++`, and
    `devices=0,1` is a list, not a sweep (but for --multirun). Where
    `--config-name` brings a YAML of its own, such as solo-learn's, that YAML lacks most keys, so
    what is set is added.

    >>> hydra_args(["backbone=timm/resnet18", "optimizer.kwargs.eta=0.02", "--multirun"])
    ['--multirun', 'backbone.name=timm/resnet18', '++optimizer.kwargs.eta=0.02']
    >>> hydra_args(["seed=3", "--config-path", "scripts", "--config-name", "simclr"])[-3:]
    ['hydra/job_logging=none', 'hydra/hydra_logging=none', '++seed=3']
    >>> hydra_args(["devices=3,"])
    ['devices=[3]']
    """
    flags, overrides = split_args(args)
    foreign = has_own_yaml(flags) is not None
    several = sweeps(flags)
    if foreign:  # its folder is the one that PluginConfigs puts first
        place = flags.index("--config-path")
        flags = [*flags[:place], *flags[place + 2 :], *OURS]

    def spell(override: str) -> str:
        check_override(override)
        if (key := key_of(override)) in DERIVED:
            raise UserError(f"{key} follows from other settings and cannot be set: leave it out")
        if re.search(r"\d{4301}", override) or override.count("{") + override.count("[") > DEEPEST:
            raise UserError(f"{key} has a number of too many digits, or too many brackets")
        if override.startswith("backbone="):
            override = override.replace("backbone=", "backbone.name=", 1)
        elif override.startswith(
            "runs_dir=~"
        ):  # --multirun makes a folder there before we are asked
            override = f"runs_dir={expanded('runs_dir', override.removeprefix('runs_dir='))}"
        if not (several and "," in override):
            override = quoted(override)
        if not several and re.fullmatch(r"devices=(\d+,)+\d*", override):
            override = f"devices=[{override.removeprefix('devices=').removesuffix(',')}]"
        is_open = f"{key_of(override)}.".startswith(OPEN_SECTIONS)
        added = override[0].isalpha() and (is_open or foreign)
        return f"++{override}" if added else override

    known = options_of("data")
    overrides.sort(key=lambda given: not given.startswith("data="))  # a path of its own wins
    words = [word for given in overrides for word in with_own_data(given, known, several)]
    return flags + [spell(word) for word in words]


def sweeps(flags: Sequence[str]) -> bool:
    """Whether the flags ask for several runs."""
    return MULTIRUN in flags


def split_args(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part flags, with their values and spelled in full, from overrides.

    Raises:
        UserError: a flag that we do not know, or without its value.

    >>> split_args(["seed=3", "--cfg=job", "-m"])
    (['--cfg', 'job', '--multirun'], ['seed=3'])
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(args)
    for arg in rest:
        if not arg.startswith("-"):
            overrides.append(arg)
            continue
        flag, equals, value = arg.partition("=")
        flag = SHORT.get(flag, flag)
        if flag not in FLAGS or (equals and flag not in FLAGS_WITH_VALUE):
            raise no_flag(arg, next(rest, "")) or UserError(
                f"unknown flag '{arg}'.{nearest(flag, FLAGS)} Known: {', '.join(FLAGS)}"
            )
        flags.append(flag)
        if flag in FLAGS_WITH_VALUE:
            flags.append(value if equals else next(rest, ""))
            if not flags[-1]:
                raise UserError(f"{flag} takes a value, such as {flag}=NAME")
    return _with_folder(flags), overrides


def _with_folder(flags: list[str]) -> list[str]:
    """Part the path of a file that `--config-name` names alone, as `--config-path` and a name.

    >>> _with_folder(["--config-name", "conf/my.yaml"])
    ['--config-path', 'conf', '--config-name', 'my']
    """
    if "--config-name" not in flags or "--config-path" in flags:
        return flags
    place = flags.index("--config-name")
    path = Path(flags[place + 1])
    named = ["--config-path", str(path.parent), "--config-name", path.name.removesuffix(".yaml")]
    return [*flags[:place], *named, *flags[place + 2 :]]


def translate(error: Exception) -> UserError:
    """Turn Hydra's error into a paragraph with the nearest right spelling."""
    reason = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or [])
        if group and not options:  # recipe/cifar: a group in a group
            group, _, option = str(error.missing_cfg_file).partition("/")
            options = options_of(group)
        if group == "hydra/launcher":
            extra = LAUNCHERS.get(option, "")
            return UserError(
                f"hydra/launcher={option} needs a package: pip install 'solo-dyntemp[{extra}]'"
            )
        if group:
            kind, more = {"data": ("data set", no_such(option))}.get(group, (group, ""))
            return UserError(
                f"unknown {kind} '{option}'.{nearest(option, options)} Known: {', '.join(options)}"
                f"{more}"
            )
        return UserError(f"{reason}. The name of a file ends in .yaml, not .yml")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OmegaConfBaseException):
            return explain(cause)
        cause = cause.__cause__
    if isinstance(error, OverrideParseException):
        typed = str(error.override).lstrip("+")
        return UserError(f"cannot parse '{typed}': {how_to_write(typed)}")
    if isinstance(error, HydraException):
        return UserError(reason)
    return told(error) or UserError(
        f"cannot compose a config from these overrides ({reason}): a group takes the name of an "
        "option, augmentations=symmetric32; a key takes a value, augmentations.0.crop_size=16"
    )
