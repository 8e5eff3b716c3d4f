"""Shared by all pictures: size, colours that colour-blind readers distinguish, atomic saving."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

P = ParamSpec("P")

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#B8A800",
    "#333333",
)
"""Okabe & Ito's palette, its yellow darkened to be seen on white."""

_DPI = 130


def new_figure(rows: int, columns: int, *, width: float = 8.0, height: float = 3.6) -> list[Axes]:
    """Make a figure without any global state and return its axes in reading order.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        width: width of the figure in inches.
        height: height of the figure in inches.

    Returns:
        The axes; the figure is `axes[0].get_figure()`.

    >>> len(new_figure(2, 2))
    4
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.grid(True, color="#DDDDDD", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return axes


@contextmanager
def without_formulas(figure: Figure) -> Iterator[None]:
    """Draw a figure in here: `$` in a class's name begins no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with matplotlib.rc_context({"text.parse_math": False}):  # for ticks, which are made later
        yield


@contextmanager
def one_warning_of_glyphs(out: Path) -> Iterator[None]:
    """Draw a figure in here: characters that no font has are one warning, not one each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    others = [each for each in caught if "missing from font" not in str(each.message)]
    for each in others:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if missing := len(caught) - len(others):
        warnings.warn(f"{out}: no font here has {missing} characters of its names", stacklevel=4)


def save(axis: Axes, out: Path | str) -> Path:
    """Write the figure of an axis. The file appears complete or not at all.

    Args:
        axis: any axis of the figure.
        out: path of the picture; its suffix names the format, its folder is made if absent.

    Returns:
        The path.

    Raises:
        ValueError: if the path has no suffix of a format that can be written.
        OSError: if the folder cannot be written.
    """
    out = Path(out)
    figure = axis.get_figure(root=True)
    if figure is None:
        raise ValueError("the axis belongs to no figure")
    kind = out.suffix.lstrip(".").lower()
    if kind not in figure.canvas.get_supported_filetypes():
        raise ValueError(f"a picture needs a suffix such as .png, got {str(out)!r}")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with without_formulas(figure), one_warning_of_glyphs(out):
            figure.savefig(unfinished, format=kind, dpi=_DPI)
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return out


def attempt(picture: Callable[P, Path | None], *args: P.args, **kwargs: P.kwargs) -> Path | None:
    """Draw a picture beside numbers, which it must not cost: whatever fails becomes a warning.

    Args:
        picture: a function that draws and returns the path.
        *args: its arguments.
        **kwargs: its arguments by name.

    Returns:
        The path, or None if nothing was drawn.
    """
    name = getattr(picture, "__name__", "a picture").strip("_<>").replace("_", " ")
    try:
        return picture(*args, **kwargs)
    except Exception as error:  # libraries raise whatever they meet in names and numbers
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        warnings.warn(f"not drawn: {name}: {reason}. The numbers are not affected", stacklevel=2)
        return None
