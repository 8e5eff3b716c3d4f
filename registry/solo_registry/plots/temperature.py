"""The picture of tau(s) over the similarities of positives and negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from solo_registry.metrics.histogram import SimilarityHistogram
from solo_registry.plots.style import BLUE, GREEN, ORANGE, RED, new_figure, save


def temperature_picture(
    histogram: SimilarityHistogram,
    curve: tuple[ArrayLike, ArrayLike] | None,
    out: Path | str,
    *,
    before: SimilarityHistogram | None = None,
) -> Path:
    """Draw tau(s) over the histogram of the similarities of positives and negatives.

    Args:
        histogram: similarities of the trained model.
        curve: (K,) cosine similarities and the (K,) temperatures there, or None.
        out: path of the picture.
        before: similarities of the untrained model; drawn beside the first.

    Returns:
        The path.

    Raises:
        ValueError: if the two halves of the curve have different shapes.
        OSError: if the file cannot be written.
    """
    panels = {"After training": histogram}
    if before is not None:
        panels = {"Before training": before} | panels
    axes = new_figure(1, len(panels), width=8.0 if before is not None else 6.0)
    for number, (axis, (title, each)) in enumerate(zip(axes, panels.items(), strict=True)):
        _draw_histogram(axis, each)
        axis.set(title=title, xlabel="cosine similarity s", xlim=(-1, 1))
        axis.set_ylabel("density" if number == 0 else "")
        if curve is not None:
            _draw_temperature(axis, curve, named=number == len(panels) - 1)
    figure = axes[0].get_figure(root=True)
    if figure is not None:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return save(axes[0], out)


def _draw_histogram(axis: Axes, histogram: SimilarityHistogram) -> None:
    populations = {
        "positives (views of one image)": (histogram.true_positives, GREEN),
        "false negatives (same class)": (histogram.false_negatives, ORANGE),
        "true negatives (other class)": (histogram.true_negatives, BLUE),
    }
    if histogram.true_negatives is None and histogram.false_negatives is None:
        populations["negatives (other images)"] = (histogram.negatives, BLUE)
    for label, (density, colour) in populations.items():
        if density is not None:
            edges = histogram.edges.numpy()
            axis.stairs(density.numpy(), edges, fill=True, color=colour, alpha=0.35)
            axis.stairs(density.numpy(), edges, color=colour, linewidth=1.4, label=label)
    axis.margins(y=0.25)


def _draw_temperature(axis: Axes, curve: tuple[ArrayLike, ArrayLike], *, named: bool) -> None:
    similarities, temperatures = (np.asarray(half, dtype=float) for half in curve)
    if similarities.shape != temperatures.shape or similarities.ndim != 1:
        shapes = f"{similarities.shape} and {temperatures.shape}"
        raise ValueError(f"curve must hold two vectors of one length, got {shapes}")
    right = axis.twinx()
    right.spines["top"].set_visible(False)
    right.plot(similarities, temperatures, "--", color=RED, linewidth=1.8)
    right.set_ylim(0, 1.15 * float(temperatures.max()))
    right.tick_params(axis="y", colors=RED)
    axis.plot([], [], "--", color=RED, linewidth=1.8, label="temperature τ(s), right axis")
    right.set_ylabel("temperature τ(s)" if named else "", color=RED)
