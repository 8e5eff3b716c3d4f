"""The picture of a sweep: a map over two parameters, a curve over one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from solo_registry.plots.names import LABELS, number
from solo_registry.plots.style import BLACK, BLUE, ORANGE, RED, new_figure, save
from solo_registry.sweep.plan import Trial
from solo_registry.sweep.space import SpaceConfig
from solo_registry.sweep.state import Sweep

CELLS = 240  # cells of the smoothed map in each direction
WIDTH = 0.10  # sigma of the smoothing, as a share of the range
NEAR = 0.06  # the map is white where no trial is as near as this share of the range
Array = NDArray[np.float64]


class Scale:
    """An axis of the picture: the positions of a parameter's values on it.

    Args:
        name: name of the parameter.
        space: the space; the axis shows the whole range.
        trials: the trials whose values the axis shows.
    """

    def __init__(self, name: str, space: SpaceConfig, trials: list[Trial]) -> None:
        self.name, self.parameter = name, space.parameters[name]
        self.values = self.places([trial.point[name] for trial in trials])
        ends = self.places([corner[name] for corner in space.corners()])
        room = 0.04 * (ends.max() - ends.min() or 1.0)
        self.low, self.high = float(ends.min() - room), float(ends.max() + room)

    def places(self, values: list[Any]) -> Array:
        """Return positions of values: logarithms, numbers, or places in the list of choices."""
        if self.parameter.choices:
            return np.array([self.parameter.choices.index(value) for value in values], float)
        numbers = np.array(values, float)
        return np.log10(numbers) if self.parameter.log else numbers

    def shares(self, places: Array) -> Array:
        """Return positions as shares of the axis."""
        return np.asarray((places - self.low) / (self.high - self.low))

    def label(self, axis: Any, limits: Any) -> None:
        """Write name and ticks on one of matplotlib's axes."""
        limits(self.low, self.high)
        axis.set_label_text(self.name)
        if self.parameter.choices:
            texts = [str(choice) for choice in self.parameter.choices]
            axis.set_ticks(range(len(texts)), texts)
        elif self.parameter.log:
            steps = np.outer(10.0 ** np.arange(-6, 7), [1, 2, 5]).ravel()
            shown = [v for v in steps if self.low <= np.log10(v) <= self.high]
            if len(shown) < 2:  # the range is too narrow for round values
                shown = [float(f"{10**place:.2g}") for place in np.linspace(self.low, self.high, 5)]
            axis.set_ticks(np.log10(shown), [f"{value:g}" for value in shown])


def draw_sweep(sweep: Sweep) -> Path:
    """Draw the trials over the parameter, or over the two most important ones."""
    space = sweep.planner.space
    parameters = space.parameters
    first = [name for name in parameters if name in sweep.order[:2]]  # in the space's order
    scales = [Scale(name, space, sweep.trials) for name in first]
    (axis,) = new_figure(1, 1, width=7.2, height=4.6)
    (line if len(scales) == 1 else plane)(axis, sweep, scales)
    best, metric = sweep.ranked[0], space.metric
    title = f"{sweep.path.name}: best {number(best.value, metric)} at " + ", ".join(
        f"{name} {best.point[name]}" for name in first
    )
    if rest := [name for name in parameters if name not in first]:
        title += f"\nalso varied, not shown: {', '.join(rest)}"
    axis.set_title(title, fontsize=10, color=BLACK)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4,
                frameon=False, fontsize=9)  # fmt: skip
    return save(axis, sweep.path / "trials.png")


def plane(axis: Axes, sweep: Sweep, scales: list[Scale]) -> None:
    """Draw a map: the smoothed metric, and every trial on it."""
    x, y = scales
    done = np.array([trial.state == "finished" for trial in sweep.trials])
    values = np.array([trial.value for trial in sweep.of_state("finished")], float)
    low, high = shown_range(values)
    columns, rows = np.linspace(x.low, x.high, CELLS), np.linspace(y.low, y.high, CELLS)
    grid = np.stack(np.meshgrid(x.shares(columns), y.shares(rows)), axis=-1).reshape(-1, 2)
    points = np.stack([x.shares(x.values[done]), y.shares(y.values[done])], axis=-1)
    surface = smooth(grid, points, values).reshape(CELLS, CELLS)
    axis.grid(False)
    axis.pcolormesh(columns, rows, surface, cmap="viridis", vmin=low, vmax=high, alpha=0.75,
                    shading="nearest", rasterized=True)  # fmt: skip
    shown = axis.scatter(x.values[done], y.values[done], c=values, cmap="viridis", vmin=low,
                         vmax=high, s=55, edgecolors="white", linewidths=1.0, label="finished",
                         zorder=3)  # fmt: skip
    if y.parameter.low == x.name and y.parameter.log == x.parameter.log:
        edge = np.array([x.low, x.high])
        axis.fill_between(edge, edge, y.low, color="#EEEEEE", zorder=2, linewidth=0)
        axis.text(0.97, 0.05, f"{y.name} < {x.name}: not searched", ha="right", color="#777777",
                  fontsize=9, transform=axis.transAxes, zorder=2)  # fmt: skip
    marks(axis, sweep, x.values, y.values)
    x.label(axis.xaxis, axis.set_xlim)
    y.label(axis.yaxis, axis.set_ylim)
    figure = axis.get_figure(root=True)
    assert isinstance(figure, Figure)
    figure.colorbar(shown, ax=axis, label=f"{LABELS[sweep.planner.space.metric]} (validation)",
                    extend="min" if low > values.min() else "neither")  # fmt: skip


def line(axis: Axes, sweep: Sweep, scales: list[Scale]) -> None:
    """Draw the metric against one parameter, smoothed and trial by trial."""
    (x,) = scales
    done = np.array([trial.state == "finished" for trial in sweep.trials])
    values = np.array([trial.value for trial in sweep.of_state("finished")], float)
    low, high = shown_range(values)
    columns = np.linspace(x.low, x.high, CELLS)
    curve = smooth(x.shares(columns)[:, None], x.shares(x.values[done])[:, None], values)
    axis.plot(columns, curve, color=BLUE, alpha=0.5, linewidth=2, label="smoothed")
    axis.scatter(x.values[done], values, s=45, color=BLUE, edgecolors="white", label="finished",
                 zorder=3)  # fmt: skip
    room = 0.06 * (high - low)
    places = np.where(done, 0.0, low - room)  # trials without a value are drawn at the bottom
    places[done] = values
    axis.set_ylim(low - 2 * room, high + 2 * room)
    marks(axis, sweep, x.values, places)
    x.label(axis.xaxis, axis.set_xlim)
    axis.set_ylabel(f"{LABELS[sweep.planner.space.metric]} (validation)")


def marks(axis: Axes, sweep: Sweep, x: Array, y: Array) -> None:
    """Mark the pruned trials, the failed trials and the winner."""
    states = np.array([trial.state for trial in sweep.trials])
    looks: dict[str, dict[str, Any]] = {
        "pruned": {"marker": "o", "facecolors": "none", "edgecolors": BLACK, "s": 30},
        "failed": {"marker": "x", "color": RED, "s": 50},
    }
    for state, look in looks.items():
        if (found := states == state).any():
            axis.scatter(x[found], y[found], linewidths=1.4, label=state, zorder=3, **look)
    best = sweep.trials.index(sweep.ranked[0])
    axis.scatter(x[best], y[best], marker="*", s=260, color=ORANGE, edgecolors=BLACK,
                 linewidths=1.0, label="winner", zorder=4)  # fmt: skip


def shown_range(values: Array) -> tuple[float, float]:
    """Return the range of the colours: up to the best value, with a lower end by the quartiles.

    Otherwise a few settings that learn nothing would leave one colour for all others.
    """
    high, quartile = float(values.max()), float(np.quantile(values, 0.25))
    low = max(float(values.min()), high - 3 * max(high - quartile, 0.1))
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def smooth(places: Array, points: Array, values: Array) -> Array:
    """Average values, weighted by a Gaussian of the distance; NaN where no trial is near.

    Args:
        places: (P, 2) or (P, 1), positions of the averages.
        points: (N, 2) or (N, 1), positions of the trials.
        values: (N,) values of the trials.

    >>> smooth(np.array([[0.0], [9.0]]), np.array([[0.0]]), np.array([5.0]))
    array([ 5., nan])
    """
    squares = ((places[:, None, :] - points[None, :, :]) ** 2).sum(-1)
    weights = np.exp(-squares / (2 * WIDTH**2))
    means = weights @ values / np.maximum(weights.sum(1), 1e-12)
    return np.where(squares.min(1) <= NEAR**2, means, np.nan)
