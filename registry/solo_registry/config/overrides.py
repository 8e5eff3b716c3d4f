"""Overrides: the KEY=VALUE arguments of a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from solo_registry.config.hints import keys_like, known_keys, no_flag
from solo_registry.config.keys import all_keys
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError, nearest
from solo_registry.paths import as_text

GROUPS = ("method", "data", "augmentations", "recipe", "suite", "space")
OUTSIDE = re.compile(r"(^|[^\w/])/|\.\.")  # an absolute path, or one that leaves a folder
# Hydra's launchers, and the extra of ours that installs each
LAUNCHERS = {
    "basic": "", "joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit",
    "ray": "ray",
}  # fmt: skip
TEXT_KEYS = {item.name for item in all_keys(PretrainConfig) if item.declared.kind is str}
# what of Hydra's own can be set; the rest can import and call code, or search further folders
HYDRA_KEYS = (
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.sweeper.max_batch_size",
    "hydra.job.name", "hydra.output_subdir",  # Lightning starts further processes with these
)  # fmt: skip


def key_of(override: str) -> str:
    """Return the key of KEY=VALUE.

    >>> key_of("++method_kwargs.tau_min=0.1")
    'method_kwargs.tau_min'
    """
    return override.partition("=")[0].lstrip("+~")


def check_override(override: str) -> None:
    """Refuse an override that is no text, runs code, leaves the config folders or renames groups.

    Raises:
        UserError: such a override; the text says what is allowed.

    >>> check_override("hydra/launcher=joblib")
    >>> check_override("+hydra.callbacks.x._target_=os.abort")
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: '+hydra.callbacks.x._target_=os.abort' would run code
    """
    key, _, value = override.partition("=")
    key = key.lstrip("+~")
    if as_text(override) != override:
        raise UserError(
            f"'{as_text(override)}' is not UTF-8, which a run's files are written in: rename the "
            "files, for example with convmv -f latin1 -t utf8 -r --notest FOLDER"
        )
    if "_target_" in override:
        raise UserError(f"'{override}' would run code")
    if key == "hydra/launcher":
        if value not in LAUNCHERS:
            raise UserError(
                f"unknown hydra/launcher '{value}'.{nearest(value, LAUNCHERS)} "
                f"Known: {', '.join(LAUNCHERS)}"
            )
    elif "@" in key:
        raise UserError(f"'{override}' cannot be set: a group has its own place in the config")
    elif key.startswith("hydra") and not key.startswith("hydra.launcher."):
        if key not in HYDRA_KEYS:
            raise UserError(
                f"'{override}' cannot be set. Of Hydra's own keys these can: hydra/launcher, "
                f"hydra.launcher.KEY, {', '.join(HYDRA_KEYS)}"
            )
    elif (key in GROUPS or "/" in key) and OUTSIDE.search(value):
        raise UserError(
            f"'{override}': an option of a group has a plain name, such as recipe=cifar/byol"
        )


def quoted(override: str) -> str:
    """Put quotes around a text that Hydra takes as such only in quotes: a path with `=` or `,`.

    >>> quoted("data.train_path=a=b"), quoted("runs_dir=фото"), quoted("runs_dir='a=b'")
    ("data.train_path='a=b'", "runs_dir='фото'", "runs_dir='a=b'")
    """
    key, _, value = override.partition("=")
    if key_of(override) not in TEXT_KEYS or not value or value[0] in "'\"[{" or "${" in value:
        return override
    try:
        as_it_is = not OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        as_it_is = False
    return override if as_it_is else f"{key}={in_quotes(value)}"


def in_quotes(text: str) -> str:
    r"""Write a text as Hydra's quoted value.

    Hydra takes a backslash as such, but before a quote as an escape.

    >>> print(in_quotes("it's"))
    'it\'s'
    """
    return "'" + re.sub(r"(\\*)('|$)", r"\1\1\2", text).replace("'", "\\'") + "'"


def how_to_write(override: str, example: str = "seed=3") -> str:
    """Write how an argument that is no KEY=VALUE, or whose value cannot be parsed, is written."""
    key, equals, value = override.partition("=")
    if equals and key and value and "'" not in value:
        said = "a value with = , [ ] or other signs takes quotes inside quotes"
        return f"{said}: \"{key}='{value}'\""
    like = keys_like(override)
    return f"write KEY=VALUE, such as {f'{like[0]}=VALUE' if like and not equals else example}"


def pair(override: str, example: str, own: Mapping[str, str]) -> tuple[str, str]:
    """Return key and value of KEY=VALUE of a command that has keys of its own.

    Args:
        override: as typed.
        example: one that is right.
        own: the command's keys, each with the key of a run that it stands in place of, or "".

    Raises:
        UserError: it is no KEY=VALUE, a misspelled key of the command, or a key of a run that one
            of the command stands in place of.

    >>> pair("seeds=5", "seeds=3", {"seeds": "seed"})
    ('seeds', '5')
    >>> pair("seed=5", "seeds=3", {"seeds": "seed"})
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: this command has seeds in place of seed: write seeds=5
    """
    key, equals, value = override.partition("=")
    if not equals or not key or key.startswith("-"):
        flag = no_flag(override, "", own) if key.startswith("-") else None
        raise flag or UserError(f"cannot parse '{override}': {how_to_write(override, example)}")
    for name, replaced in own.items():
        if key_of(override) == replaced:
            raise UserError(f"this command has {name} in place of {replaced}: write {name}={value}")
    first = key.lstrip("+~").partition(".")[0].partition("/")[0].partition("@")[0]
    sections = [*own, *GROUPS, "hydra", *(name for name in known_keys() if "." not in name)]
    if first not in {name.partition(".")[0] for name in sections}:
        hint = nearest(key, sections)
        if any(hint.endswith(f" '{name}'?") for name in own):
            raise UserError(f"unknown key '{key}'.{hint}")
    return key, value


def short(override: str) -> str:
    """Return a override with the last part of its key only.

    >>> short("method_kwargs.tau_min=0.1")
    'tau_min=0.1'
    """
    key, equals, value = override.partition("=")
    return f"{key.rpartition('.')[2]}{equals}{value}"


def unique(overrides: Iterable[str]) -> list[str]:
    """Keep the last override of each key, in the order of first mention.

    >>> unique(["data=digits", "seed=1", "data=cifar10"])
    ['data=cifar10', 'seed=1']
    """
    return list({key_of(override): override for override in overrides}.values())
