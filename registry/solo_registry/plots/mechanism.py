"""Pictures of telemetry: the pairs and their gradient, and the measures over the epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from solo_registry.plots.labels import legend_below
from solo_registry.plots.style import BLUE, COLOURS, GREEN, ORANGE, new_figure, save

_POPULATIONS = {
    "true_positive": ("positives", GREEN),
    "false_negative": ("false negatives (same class)", ORANGE),
    "true_negative": ("true negatives (other class)", BLUE),
    "unlabelled": ("negatives (no label)", BLUE),
}
_NEGATIVES = ("false_negative", "true_negative", "unlabelled")
_PANELS: dict[str, dict[str, str]] = {
    "Backbone features": {
        "uniformity": "uniformity",
        "tolerance": "tolerance",
        "alignment": "alignment",
        "inter_class_uniformity": "inter-class uniformity",
    },
    "Effective rank (RankMe)": {"rankme": "backbone features"},
    "Earth mover's distance of similarities": {
        "emd_true_positive_false_negative": "positives, false negatives",
        "emd_true_positive_true_negative": "positives, true negatives",
        "emd_false_negative_true_negative": "false, true negatives",
    },
    "Share of false negatives among negatives": {
        "false_negative_share_gradient_flow": "of the gradient, through τ too",
        "false_negative_share_gradient_detached": "of the gradient, τ detached",
        "false_negative_share_pairs": "of the pairs",
    },
    "Negatives that count": {"effective_negatives": "effective", "negatives": "all"},
    "Temperature": {
        "tau_positive_mean": "positives, mean",
        "tau_negative_mean": "negatives, mean",
        "tau_negative_min": "negatives, least",
        "tau_negative_max": "negatives, largest",
    },
}


def mechanism_picture(table: pd.DataFrame | Path | str, out: Path | str) -> Path:
    """Draw similarities and gradient by similarity before, during and after training.

    Args:
        table: mechanism.parquet or its content.
        out: path of the picture.

    Returns:
        The path.

    Raises:
        ValueError: the table has no rows.
        OSError: a file cannot be read or written.
    """
    table = _table(table)
    epochs = sorted(int(epoch) for epoch in table["epoch"].unique())
    if not epochs:
        raise ValueError("the table has no rows")
    shown = sorted({epochs[0], epochs[len(epochs) // 2], epochs[-1]})
    pressed = "gradient_detached" in table and bool(table["gradient_detached"].notna().any())
    axes = new_figure(1 + pressed, len(shown), width=4 * len(shown), height=3.2 + 2.6 * pressed)
    for number, epoch in enumerate(shown):
        rows = table[table["epoch"] == epoch]
        top = axes[number]
        for name, (label, colour) in _POPULATIONS.items():
            of_name = rows[rows["population"] == name]
            total = of_name["pairs"].sum()
            density = of_name["pairs"] / (total * (of_name["s_high"] - of_name["s_low"]))
            _steps(top, of_name, density, colour, label, filled=True)
        top.set(title=f"epoch {epoch}", xlim=(-1, 1))
        if pressed:
            bottom = axes[len(shown) + number]
            for name in _NEGATIVES:
                of_name, (label, colour) = rows[rows["population"] == name], _POPULATIONS[name]
                _steps(bottom, of_name, of_name["gradient_detached"], colour, None, filled=True)
                _steps(bottom, of_name, of_name["gradient_flow"], colour, None, filled=False)
            bottom.set(xlim=(-1, 1))
    for axis in axes[-len(shown) :]:
        axis.set_xlabel("cosine similarity s")
    axes[0].set_ylabel("density of pairs")
    if pressed:
        axes[len(shown)].set_ylabel(
            "|∂L/∂s| of negatives per anchor\n(filled: τ detached, line: flow)"
        )
    return _save_with_legend(axes, out)


def trajectory_picture(table: pd.DataFrame | Path | str, out: Path | str) -> Path:
    """Draw the measures over the epochs.

    Args:
        table: trajectory.parquet or its content.
        out: path of the picture.

    Returns:
        The path.

    Raises:
        ValueError: there is nothing to draw.
        OSError: a file cannot be read or written.
    """
    table = _table(table)
    panels = {
        title: {key: label for key, label in curves.items() if key in table}
        for title, curves in _PANELS.items()
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    if not panels or table.empty:
        raise ValueError(f"the table holds no curve that can be drawn, got {list(table.columns)}")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    axes = new_figure(rows, columns, width=4 * columns, height=0.3 + 3.3 * rows)
    for axis, (title, curves) in zip(axes, panels.items(), strict=False):
        for colour, mark, (key, label) in zip(COLOURS, "os^D", curves.items(), strict=False):
            axis.plot(
                table["epoch"], table[key], f"{mark}-", color=colour, markersize=4, label=label
            )
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(axis, 1 if max(map(len, curves.values())) > 24 else 2)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return save(axes[0], out)


def _steps(
    axis: Axes,
    rows: pd.DataFrame,
    heights: pd.Series[float],
    colour: str,
    label: str | None,
    *,
    filled: bool,
) -> None:
    """Draw a histogram whose empty bins are missing from the table."""
    if rows.empty:
        return
    width = float((rows["s_high"] - rows["s_low"]).iloc[0])
    edges = np.linspace(-1, 1, round(2 / width) + 1)
    values = np.zeros(len(edges) - 1)
    values[((rows["s_low"] + 1) / width).round().astype(int)] = heights
    if filled:
        axis.stairs(values, edges, fill=True, color=colour, alpha=0.35, label=label)
    else:
        axis.stairs(values, edges, color=colour, linewidth=1.4)


def _save_with_legend(axes: list[Axes], out: Path | str) -> Path:
    figure = axes[0].get_figure(root=True)
    if figure is not None:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return save(axes[0], out)


def _table(table: pd.DataFrame | Path | str) -> pd.DataFrame:
    """Return the content of a Parquet file; OSError if a page does not fit its checksum."""
    if isinstance(table, pd.DataFrame):
        return table
    return pd.read_parquet(table, page_checksum_verification=True)
