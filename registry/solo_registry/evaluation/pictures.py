"""Pictures of a run: training curves, similarities with the temperature, accuracies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from solo_registry.evaluation.drawing import (
    BLUE,
    COLOURS,
    GREEN,
    ORANGE,
    RED,
    new_figure,
    save,
)
from solo_registry.evaluation.feature_map import feature_map
from solo_registry.evaluation.histogram import SimilarityHistogram
from solo_registry.evaluation.protocol import Result
from solo_registry.evaluation.table import ROW_NAMES

__all__ = ["comparison_bars", "feature_map", "temperature_picture", "training_curves"]

_PANELS = {
    "Loss": ("loss", re.compile(r"^(train|val)_(?!.*step$).*loss(_epoch)?$")),
    "Online linear probe": ("top-1 accuracy (%)", re.compile(r"^(train|val)_acc1(_epoch)?$")),
    "Online kNN": ("accuracy (%)", re.compile(r"^(train|val)_knn_acc[15](_epoch)?$")),
    "Learning rate": ("learning rate", re.compile(r"^lr(-.*)?$")),
}


def training_curves(metrics: pd.DataFrame | Path | str, out: Path | str) -> Path:
    """Draw loss, online accuracy, online kNN and learning rate against the epoch.

    Args:
        metrics: a `metrics.csv` of Lightning's CSVLogger or its table, with the columns `epoch` and
            `step`; columns such as `train_nce_loss_epoch`, `val_acc1`, `val_knn_acc1` and `lr` are
            drawn where present, the mean per epoch (the learning rate: every value).
        out: path of the picture.

    Returns:
        The path.

    Raises:
        ValueError: if there is no `epoch` column or nothing to draw.
        OSError: if a file cannot be read or written.
    """
    table = metrics if isinstance(metrics, pd.DataFrame) else pd.read_csv(metrics)
    if "epoch" not in table:
        raise ValueError(f"metrics must have a column 'epoch', got {list(table.columns)}")
    panels = {}
    for title, (unit, pattern) in _PANELS.items():
        names = [str(name) for name in table.columns if pattern.match(str(name))]
        names = [name for name in names if f"{name}_epoch" not in names]
        names = [name for name in names if bool(table[name].notna().any())]
        if names:
            panels[title] = (unit, names)
    if not panels:
        raise ValueError(f"metrics hold no curve that can be drawn, got {list(table.columns)}")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    axes = new_figure(rows, columns, height=0.3 + 2.7 * rows)
    for axis, (title, (unit, names)) in zip(axes, panels.items(), strict=False):
        by_step = title == "Learning rate"
        for colour, name in zip(COLOURS * len(names), sorted(names), strict=False):
            epochs, values = (_by_step if by_step else _by_epoch)(table, name)
            marker = "o" if len(values) <= 40 else ""
            line = "--" if name.startswith("val") else "-"
            axis.plot(
                epochs, values, line + marker, color=colour, markersize=3, label=_legend(name)
            )
        axis.set(title=title, xlabel="epoch", ylabel=unit)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not by_step or len(names) > 1:
            axis.legend(frameon=False, fontsize="small")
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return save(axes[0], out)


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


def comparison_bars(rows: Mapping[str, Result], out: Path | str) -> Path | None:
    """Draw the accuracies of raw pixels, untrained and trained backbone beside each other.

    Args:
        rows: results of `evaluate_features` by "raw_pixels", "untrained", "trained" or other names.
        out: path of the picture.

    Returns:
        The path, or None if no row holds an accuracy, as without labels.

    Raises:
        OSError: if the file cannot be written.
    """
    measures = {"knn_acc1": ("kNN", BLUE), "linear_acc1": ("linear probe", ORANGE)}
    named = {
        ROW_NAMES.get(name, name.replace("_", " ")): row
        for name, row in rows.items()
        if any(row.get(key) is not None for key in measures)
    }
    if not named:
        return None
    (axis,) = new_figure(1, 1, width=7.0, height=1.1 + 0.65 * len(named))
    for number, (key, (label, colour)) in enumerate(measures.items()):
        values = [float(row.get(key) or 0.0) for row in named.values()]
        places = np.arange(len(named)) + (number - 0.5) * 0.38
        bars = axis.barh(places, values, height=0.36, color=colour, label=label)
        axis.bar_label(bars, fmt="%.1f", padding=3, fontsize="small")
    axis.set_yticks(range(len(named)), list(named))
    axis.invert_yaxis()
    axis.set(xlim=(0, 108), xticks=range(0, 101, 20), xlabel="top-1 accuracy (%)")
    axis.set_title("Accuracy of frozen features")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    return save(axis, out)


def _by_epoch(table: pd.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Epochs done and the mean value of each, of those that measured it.

    >>> _by_epoch(pd.DataFrame({"epoch": [0, 1, 2], "val_acc1": [None, 5.0, None]}), "val_acc1")
    ([2.0], [5.0])
    """
    means = table.dropna(subset=[name, "epoch"]).groupby("epoch")[name].mean()
    return [float(epoch) + 1 for epoch in means.index], [float(value) for value in means]


def _by_step(table: pd.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Fraction of epochs done and every value."""
    if "step" not in table:
        return _by_epoch(table, name)
    rows = table.dropna(subset=[name, "step"]).sort_values("step")
    scale = (float(table["epoch"].max()) + 1) / (float(table["step"].max()) + 1)
    return [float(step) * scale for step in rows["step"]], [float(value) for value in rows[name]]


def _legend(name: str) -> str:
    return name.removesuffix("_epoch").replace("_", " ")


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
