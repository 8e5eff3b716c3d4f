"""Composing a run's config with Hydra, and telling its errors to people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
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
from solo_registry.config.given import FOLDER, OURS, GivenFolder, find_given
from solo_registry.config.keys import all_keys
from solo_registry.config.overrides import check_word, key_of
from solo_registry.config.pages import help_page
from solo_registry.config.resolve import expanded, explain, settled
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError, nearest

# those of Hydra's flags that we pass on; others would read a pickle or search further folders
SHORT = {
    "-cn": "--config-name", "-cp": "--config-path", "-c": "--cfg", "-p": "--package",
    "-m": "--multirun", "-r": "--run", "-h": "--help",
}  # fmt: skip
FLAGS_WITH_VALUE = ("--config-name", "--config-path", "--cfg", "--package")
FLAGS = ("--multirun", "--run", "--resolve", "--help", "--version", *FLAGS_WITH_VALUE)
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


def run_with_config(task: Callable[[DictConfig], Any], words: Sequence[str]) -> None:
    """Compose the config from command-line words and hand it to `task`.

    Args:
        task: called once, or once per job with `--multirun`.
        words: Hydra's overrides and flags.

    Raises:
        UserError: the words do not make a config; the text names the nearest right one.
    """
    register_configs()
    flags, overrides = split_words(words)
    if "--help" in flags:
        print(help_of(words), end="")
        return
    before = sys.argv
    methods = [word.partition("=")[2] for word in overrides if word.startswith("method=")]
    own = has_own_yaml(flags)
    if own:  # there `method` is a key beside method_kwargs, which stay as they are
        overrides = [word for word in overrides if not word.startswith("method=")]
    else:
        methods = []
    started: list[DictConfig] = []
    failures: list[UserError] = []

    def guarded(cfg: DictConfig) -> None:
        started.append(cfg)
        for method in methods:
            OmegaConf.update(cfg, "method", method, force_add=True)
        sys.argv = before  # what Lightning runs again for each further device
        try:
            task(settled(cfg))
        except UserError as error:  # Hydra would print a line of its own before ours
            failures.append(error)

    # Hydra would print a shortened stack trace and exit with 1; we tell errors ourselves.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    main = hydra.main(
        version_base="1.3", config_path="pkg://solo_registry.configs", config_name="pretrain"
    )
    folder = FOLDER.set(find_given(*own) if own else None)
    try:
        sys.argv = [before[0], *hydra_words([*flags, *overrides])]
        main(guarded)()
    except Exception as error:
        if started:
            raise
        raise translate(error) from error  # composing failed, so the words are to blame
    finally:
        sys.argv = before
        FOLDER.reset(folder)
    if failures:  # with --multirun the other jobs have run
        raise failures[0]


def register_configs() -> None:
    """Let Hydra know the schema and the plugins' YAML files."""
    ConfigStore.instance().store(name="schema", node=PretrainConfig)
    Plugins.instance().register(PluginConfigs)
    Plugins.instance().register(GivenFolder)


def help_of(words: Sequence[str]) -> str:
    """Return the help with the values that some words give; `--config-name` and sweeps apart.

    Raises:
        UserError: the words do not make a config.
    """
    flags, overrides = split_words(words)
    if sweeps(flags):
        overrides = [word for word in overrides if "," not in word]
    cfg = compose_config(overrides)
    chosen = any(word.startswith(("method=", "recipe=")) for word in overrides)
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
            return settled(compose("pretrain", overrides=hydra_words(overrides)))
    except Exception as error:
        raise translate(error) from error


def has_own_yaml(flags: Sequence[str]) -> tuple[str, str] | None:
    """Return folder and name of the YAML that stands in place of our pretrain.yaml, if any does.

    Raises:
        UserError: a name without a folder.
    """
    given = dict(pairwise([flag.removesuffix(".yaml") for flag in flags]))
    if "--config-path" in given:
        return flags[flags.index("--config-path") + 1], given.get("--config-name", "pretrain")
    if "--config-name" in given:
        raise UserError("--config-name takes --config-path too: the folder of the file")
    return None


def hydra_words(words: Sequence[str]) -> list[str]:
    """Write the user's words as Hydra wants them.

    Flags go first, `backbone=NAME` is its key, sections that take any key need no `++`, and
    `devices=0,1` is a list, not a sweep (but for --multirun). Where
    `--config-name` brings a YAML of its own, such as solo-learn's, that YAML lacks most keys, so
    what is set is added.

    >>> hydra_words(["backbone=timm/resnet18", "optimizer.kwargs.eta=0.02", "--multirun"])
    ['--multirun', 'backbone.name=timm/resnet18', '++optimizer.kwargs.eta=0.02']
    >>> hydra_words(["seed=3", "--config-path", "scripts", "--config-name", "simclr"])[-3:]
    ['hydra/job_logging=none', 'hydra/hydra_logging=none', '++seed=3']
    >>> hydra_words(["devices=3,"])
    ['devices=[3]']
    """
    flags, overrides = split_words(words)
    foreign = has_own_yaml(flags) is not None
    several = sweeps(flags)
    if foreign:  # its folder is the one that PluginConfigs puts first
        place = flags.index("--config-path")
        flags = [*flags[:place], *flags[place + 2 :], *OURS]

    def spell(word: str) -> str:
        check_word(word)
        if (key := key_of(word)) in DERIVED:
            raise UserError(f"{key} follows from other settings and cannot be set: leave it out")
        if re.search(r"\d{4301}", word) or word.count("{") + word.count("[") > DEEPEST:
            raise UserError(f"{key} has a number of too many digits, or too many brackets")
        if word.startswith("backbone="):
            word = word.replace("backbone=", "backbone.name=", 1)
        elif word.startswith("runs_dir=~"):  # --multirun makes a folder there before we are asked
            word = f"runs_dir={expanded('runs_dir', word.removeprefix('runs_dir='))}"
        if not several and re.fullmatch(r"devices=(\d+,)+\d*", word):
            word = f"devices=[{word.removeprefix('devices=').removesuffix(',')}]"
        added = word.startswith(OPEN_SECTIONS) or (foreign and word[0].isalpha())
        return f"++{word}" if added else word

    return flags + [spell(word) for given in overrides for word in with_own_folder(given)]


def with_own_folder(word: str) -> list[str]:
    """Write `data=FOLDER`, for a folder of images that is no data set's name, as its two keys.

    >>> with_own_folder("data=cifar10"), with_own_folder("data=.")
    (['data=cifar10'], ['data=custom', 'data.train_path=.'])
    """
    key, _, value = word.partition("=")
    path = value[1:-1].replace("\\'", "'") if value[:1] in ("'", '"') else value
    if key != "data" or path in options_of("data") or not Path(path).expanduser().is_dir():
        return [word]
    return ["data=custom", f"data.train_path={value}"]


def sweeps(flags: Sequence[str]) -> bool:
    """Whether the flags ask for several runs."""
    return "--multirun" in flags


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part flags, with their values and spelled in full, from overrides.

    Raises:
        UserError: a flag that we do not know, or without its value.

    >>> split_words(["seed=3", "--config-name=simclr", "-m"])
    (['--config-name', 'simclr', '--multirun'], ['seed=3'])
    """
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = SHORT.get(flag, flag)
        if flag not in FLAGS or (equals and flag not in FLAGS_WITH_VALUE):
            raise UserError(
                f"unknown flag '{word}'.{nearest(flag, FLAGS)} Known: {', '.join(FLAGS)}"
            )
        flags.append(flag)
        if flag in FLAGS_WITH_VALUE:
            flags.append(value if equals else next(rest, ""))
            if not flags[-1]:
                raise UserError(f"{flag} takes a value, such as {flag}=NAME")
    return flags, overrides


def options_of(group: str) -> list[str]:
    """List what a group has in all config packages, subgroups too, which Hydra does not tell.

    >>> options_of("recipe")[:2]
    ['cifar/all4one', 'cifar/barlow_twins']
    """

    def names(folder: Any, prefix: str) -> Iterator[str]:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir():
                yield from names(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                yield prefix + entry.name.removesuffix(".yaml")

    folders = [files(package).joinpath(group) for package in load_plugins()]
    return sorted(name for folder in folders for name in names(folder, ""))


def translate(error: Exception) -> UserError:
    """Turn Hydra's error into a paragraph with the nearest right spelling."""
    reason = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options or [])
        if group and not options:  # recipe/cifar: a group in a group
            group, _, option = str(error.missing_cfg_file).partition("/")
            options = options_of(group)
        if group:
            kind = {"data": "data set"}.get(group, group)
            return UserError(
                f"unknown {kind} '{option}'.{nearest(option, options)} Known: {', '.join(options)}"
            )
        return UserError(f"{reason}. Hydra reads .yaml files, no .yml")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OmegaConfBaseException):
            return explain(cause)
        cause = cause.__cause__
    if isinstance(error, OverrideParseException):
        return UserError(f"cannot read '{error.override}': write KEY=VALUE, such as seed=3")
    if isinstance(error, HydraException):
        return UserError(reason)
    return UserError(
        f"cannot compose a config from these words ({reason}): a group takes the name of an "
        "option, augmentations=symmetric32; a key takes a value, augmentations.0.crop_size=16"
    )
