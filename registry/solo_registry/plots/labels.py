"""Names and legends that stand beside what they name, not over it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from solo_registry.plots.style import without_formulas

Array = NDArray[np.float64]
Box = Array  # (2, 2): lower left and upper right corner

_PAD = 6.0  # pixels between a name and a point
_STEPS = np.arange(12.0, 200.0, 8.0)  # distances of a name from its place, in pixels
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)


def names_beside(axis: Axes, names: Sequence[str], places: Array, points: Array) -> list[Box]:
    """Write each name near its place, where it covers no point and no other name.

    The nearest such position is chosen; a thin line leads to the place if the name is not beside
    it. Where everything is covered, the name goes where it covers the fewest points. Call this
    last: the axis must have its limits, title and legend.

    Args:
        axis: the axis with the points.
        names: what to write.
        places: (N, 2) a place per name, in the axis's units.
        points: (P, 2) all points, in the axis's units.

    Returns:
        Lower left and upper right corner of each name, (2, 2), in pixels.
    """
    figure = axis.get_figure(root=True)
    assert figure is not None
    with warnings.catch_warnings():  # `save` warns of characters without a glyph, once
        warnings.filterwarnings("ignore", ".*missing from font")
        with without_formulas(figure):
            figure.draw_without_rendering()
        dots = axis.transData.transform(points)
        frame = axis.get_window_extent().get_points()
        taken: list[Box] = []
        for name, place in zip(names, places, strict=True):
            text = axis.annotate(
                name, tuple(place), fontsize="small", ha="center", va="center", parse_math=False
            )
            size = np.diff(text.get_window_extent().get_points(), axis=0)[0]
            box = _free(axis.transData.transform(place), size, dots, taken, frame)
            _move(axis, text, box, axis.transData.transform(place))
            taken.append(box)
    return taken


def _free(place: Array, size: Array, dots: Array, taken: Sequence[Box], frame: Box) -> Box:
    """Return the box of this size nearest to the place that covers the least."""
    best, fewest = np.stack([place - size / 2, place + size / 2]), np.inf
    for step, angle in product(_STEPS, _ANGLES):
        # a wide name is as far from its place beside it as above it
        middle = place + (step + size / 2) * np.array([np.cos(angle), np.sin(angle)])
        low, high = middle - size / 2, middle + size / 2
        free = all(((low > b) | (high < a)).any() for a, b in taken)
        if not free or (low < frame[0]).any() or (high > frame[1]).any():
            continue
        covered = ((dots > low - _PAD) & (dots < high + _PAD)).all(axis=1).sum()
        if covered < fewest:
            best, fewest = np.stack([low, high]), covered
        if not covered:
            break
    return best


def _move(axis: Axes, text: Annotation, box: Box, place: Array) -> None:
    """Write the text in the box, with a line to its place if this is not next to it."""
    low, high = box
    x, y = axis.transData.inverted().transform((low + high) / 2)
    text.set_position((float(x), float(y)))
    if np.hypot(*np.maximum(np.maximum(low - place, place - high), 0)) > 2 * _STEPS[0]:
        near = np.clip(place, low - 1, high + 1)
        ends = axis.transData.inverted().transform(np.stack([near, place]))
        axis.plot(*ends.T, color="#777777", linewidth=0.7, scalex=False, scaley=False)


def legend_below(axis: Axes, columns: int) -> None:
    """Put the legend under the axis and its label, so that it covers no line."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    under = axis.transAxes + ScaledTranslation(0, -36 / 72, figure.dpi_scale_trans)
    axis.legend(
        frameon=False, fontsize="small", ncols=columns, loc="upper center", bbox_to_anchor=(0.5, 0),
        bbox_transform=under, columnspacing=1.2, handlelength=2.4,
    )  # fmt: skip


def spread(places: Array, apart: float) -> Array:
    """Return offsets that put equal places side by side, in the unit of `apart`, shape (N, 2).

    Args:
        places: (N, 2) places in the picture, in pixels.
        apart: the distance of neighbours.

    >>> spread(np.array([[0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]), 8.0).tolist()
    [[-4.0, 0.0], [0.0, 0.0], [4.0, 0.0]]
    """
    offsets = np.zeros_like(places)
    for place in places:
        equal = np.flatnonzero(np.hypot(*(places - place).T) < 2)
        offsets[equal, 0] = apart * (np.arange(len(equal)) - (len(equal) - 1) / 2)
    return offsets
