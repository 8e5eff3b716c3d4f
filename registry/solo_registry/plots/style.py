"""Shared by all pictures: size, colours that colour-blind readers distinguish, atomic saving."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

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
    for text in figure.findobj(Text):
        if (
            "$" in text.get_text() and "\\mathdefault" not in text.get_text()
        ):  # not matplotlib's own
            text.set_parse_math(False)  # a name with two dollars is no formula
    unfinished = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(unfinished, format=kind, dpi=_DPI)
        os.replace(unfinished, out)
    finally:
        unfinished.unlink(missing_ok=True)
    return out
