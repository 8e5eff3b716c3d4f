"""Overrides, the KEY=VALUE words of a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from solo_registry.errors import UserError, nearest

GROUPS = ("method", "data", "augmentations", "recipe", "suite", "space")
OUTSIDE = re.compile(r"(^|[^\w/])/|\.\.")  # an absolute path, or one that leaves a folder
LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm", "ray")
# what of Hydra's own can be set; the rest can import and call code, or search further folders
HYDRA_KEYS = (
    "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.sweeper.max_batch_size",
)  # fmt: skip


def key_of(word: str) -> str:
    """Return the key of KEY=VALUE.

    >>> key_of("++method_kwargs.tau_min=0.1")
    'method_kwargs.tau_min'
    """
    return word.partition("=")[0].lstrip("+~")


def check_word(word: str) -> None:
    """Refuse an override that lets Hydra run code, leave the config's folders, or rename groups.

    Raises:
        UserError: such a word; the text says what is allowed.

    >>> check_word("hydra/launcher=joblib")
    >>> check_word("+hydra.callbacks.x._target_=os.abort")
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: '+hydra.callbacks.x._target_=os.abort' would run code
    """
    key, _, value = word.partition("=")
    key = key.lstrip("+~")
    if "_target_" in word:
        raise UserError(f"'{word}' would run code")
    if key == "hydra/launcher":
        if value not in LAUNCHERS:
            raise UserError(
                f"unknown hydra/launcher '{value}'.{nearest(value, LAUNCHERS)} "
                f"Known: {', '.join(LAUNCHERS)}"
            )
    elif "@" in key:
        raise UserError(f"'{word}' cannot be set: a group has its own place in the config")
    elif key.startswith("hydra") and not key.startswith("hydra.launcher."):
        if key not in HYDRA_KEYS:
            raise UserError(
                f"'{word}' cannot be set. Of Hydra's own keys these can: hydra/launcher, "
                f"hydra.launcher.KEY, {', '.join(HYDRA_KEYS)}"
            )
    elif (key in GROUPS or "/" in key) and OUTSIDE.search(value):
        raise UserError(
            f"'{word}': an option of a group has a plain name, such as recipe=cifar/byol"
        )


def pair(word: str, example: str) -> tuple[str, str]:
    """Return key and value of KEY=VALUE.

    Raises:
        UserError: the word is no such thing.

    >>> pair("seeds=5", "seeds=3")
    ('seeds', '5')
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UserError(f"cannot read '{word}': write KEY=VALUE, such as {example}")
    return key, value


def short(word: str) -> str:
    """Return a word with the last part of its key only.

    >>> short("method_kwargs.tau_min=0.1")
    'tau_min=0.1'
    """
    key, equals, value = word.partition("=")
    return f"{key.rpartition('.')[2]}{equals}{value}"


def unique(words: Iterable[str]) -> list[str]:
    """Keep the last word of each key, in the order of first mention.

    >>> unique(["data=digits", "seed=1", "data=cifar10"])
    ['data=cifar10', 'seed=1']
    """
    return list({key_of(word): word for word in words}.values())
