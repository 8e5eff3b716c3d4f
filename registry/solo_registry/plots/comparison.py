"""The picture of the accuracies of raw pixels, untrained and trained backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from solo_registry.metrics.protocol import Result
from solo_registry.plots.style import BLUE, ORANGE, new_figure, save
from solo_registry.plots.tables import ROW_NAMES


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
