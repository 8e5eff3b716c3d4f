"""The picture of a training run: losses, online accuracies and learning rate by epoch."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from solo_registry.plots.labels import legend_below
from solo_registry.plots.style import COLOURS, new_figure, save

_PANELS = {
    "Loss of the method": (
        "loss",
        re.compile(r"^train_(?!.*class_)(?!.*step$).*loss(_epoch)?$"),
    ),
    "Loss of the online probe": (
        "loss",
        re.compile(r"^(train_(momentum_)?class|val_(momentum_)?(class_)?)_?loss(_epoch)?$"),
    ),
    "Online linear probe": ("top-1 accuracy (%)", re.compile(r"^(train|val)_acc1(_epoch)?$")),
    "Online kNN": ("accuracy (%)", re.compile(r"^(train|val)_knn_acc[15](_epoch)?$")),
    "Learning rate": ("learning rate", re.compile(r"^lr(-.*)?$")),
}


def training_curves(metrics: pd.DataFrame | Path | str, out: Path | str) -> Path:
    """Draw losses, online accuracy, online kNN and learning rate against the epoch.

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
    axes = new_figure(rows, columns, height=0.3 + 3.0 * rows)
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
            legend_below(axis, 2)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    return save(axes[0], out)


def _by_epoch(table: pd.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Return the epochs that measured a column, and the column's mean in each.

    >>> _by_epoch(pd.DataFrame({"epoch": [0, 1, 2], "val_acc1": [None, 5.0, None]}), "val_acc1")
    ([2.0], [5.0])
    """
    means = table.dropna(subset=[name, "epoch"]).groupby("epoch")[name].mean()
    return [float(epoch) + 1 for epoch in means.index], [float(value) for value in means]


def _by_step(table: pd.DataFrame, name: str) -> tuple[list[float], list[float]]:
    """Return every value of a column, and the fraction of epochs done at each."""
    if "step" not in table:
        return _by_epoch(table, name)
    rows = table.dropna(subset=[name, "step"]).sort_values("step")
    scale = (float(table["epoch"].max()) + 1) / (float(table["step"].max()) + 1)
    return [float(step) * scale for step in rows["step"]], [float(value) for value in rows[name]]


def _legend(name: str) -> str:
    return name.removesuffix("_epoch").replace("_", " ")
