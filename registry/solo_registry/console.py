"""How the project talks: one console, and libraries that keep quiet unless they warn."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

PIPED_WIDTH = 170  # columns, where the output is a file or a pipe: a line for each entry


def terminal() -> Console:
    """Return the console of this process; piped output gets a fixed width and no colors."""
    console = plain()
    return console if console.is_terminal else plain(width=PIPED_WIDTH)


def plain(**settings: Any) -> Console:
    """Return a console that prints every text as it is written.

    Rich by itself reads `[red]` in a path as a color, `[/x]` as a mistake and `:smile:` as a
    picture. Where a style is meant, the text is a `rich.text.Text`.

    In a notebook it prints as into a file: Rich's live bars need ipywidgets there, and warn at each
    step without it.

    Args:
        **settings: arguments of `rich.console.Console`.
    """
    if "ipykernel" in sys.modules:  # whose stdout says that it is a terminal
        settings = {"force_jupyter": False, "force_terminal": False} | settings
    return Console(markup=False, emoji=False, **settings)


def print_all_names() -> None:
    r"""Let stdout write `\u732b` for a character that its encoding does not have, as stderr does.

    Names of files, classes and runs may have one where the terminal or pipe is not UTF-8 (Windows'
    pipes, a Latin-1 locale), or where a name on the disk is not. Python raises an error otherwise.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning of Python as one line without file and code: `warning: TEXT`."""

    def show(message: Warning | str, *_: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def quiet_libraries() -> None:
    """Keep Lightning's hints and its own use of deprecated functions off the terminal.

    Call it before a `Trainer` is made: Lightning's import sets its level again.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
    for text in (
        "does not have many workers",
        "GPU available but not used",  # the config says so, or notes.idle_gpu
        "is smaller than the logging interval",
        "IProgress not found",  # tqdm's, in a notebook without ipywidgets
    ):
        warnings.filterwarnings("ignore", message=f".*{text}")
