"""Letting Hydra make its command line on Python 3.14 and later."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

CHECK = "_check_help"  # argparse has it from Python 3.14 on


@contextmanager
def objects_as_help() -> Iterator[None]:
    """Let a parser take an object as the help of an argument; argparse's check of texts stays.

    Hydra up to 1.3.8 gives `--shell-completion` such an object, to make its text late. Python 3.14
    reads each help when the argument is added, so Hydra ends with "badly formed help string"
    (Hydra's issue 3121).
    """
    owner = next((kind for kind in ArgumentParser.__mro__ if CHECK in vars(kind)), None)
    if owner is None:
        yield
        return
    checked = getattr(owner, CHECK)

    def check(parser: ArgumentParser, action: Action) -> None:
        if action.help is None or isinstance(action.help, str):
            checked(parser, action)

    setattr(owner, CHECK, check)
    try:
        yield
    finally:
        setattr(owner, CHECK, checked)
