"""Names and legends cover nothing: no point, no line, no other name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

from solo_registry.plots import curves, mechanism
from solo_registry.plots.labels import legend_below, names_beside
from solo_registry.plots.style import new_figure


def clouds(count: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return np.concatenate(
        [rng.normal(middle, 0.5, (30, 2)) for middle in 4 * rng.random((count, 2))]
    )


@pytest.mark.parametrize("length", [1, 14])
def test_names_cover_no_point_and_no_name(length: int) -> None:
    points = clouds(6)
    (axis,) = new_figure(1, 1, width=7, height=5)
    axis.scatter(points[:, 0], points[:, 1], s=9)
    boxes = names_beside(axis, [f"{n}" * length for n in range(6)], points[::30], points)
    dots = axis.transData.transform(points)
    frame = axis.get_window_extent()
    for number, (low, high) in enumerate(boxes):
        assert not ((dots > low) & (dots < high)).all(axis=1).any()
        assert all(((low > b) | (high < a)).any() for a, b in boxes[:number])
        assert frame.contains(*low) and frame.contains(*high)
    texts = [text.get_window_extent().get_points() for text in axis.texts]
    assert np.allclose(texts, boxes, atol=1)


def test_names_are_written_where_no_place_is_free() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 90)] * 2), axis=-1).reshape(-1, 2)
    (axis,) = new_figure(1, 1)
    axis.scatter(grid[:, 0], grid[:, 1], s=9)
    (box,) = names_beside(axis, ["anywhere"], grid[:1], grid)
    assert axis.get_window_extent().overlaps(Bbox(box))


def drawn_axes(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[Axes]:
    """Return the axes that a picture of this module has, in place of writing the file."""
    found: list[Axes] = []

    def keep(axis: Axes, out: Path) -> Path:
        found.extend(axis.get_figure(root=True).axes)  # type: ignore[union-attr]
        return out

    monkeypatch.setattr(module, "save", keep)
    return found


def free_of_legends(axes: list[Axes]) -> int:
    """Return how many legends there are; fail if one covers its own or another axis's lines."""
    axes[0].get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    legends = [legend.get_window_extent() for axis in axes if (legend := axis.get_legend())]
    for axis in (axis for axis in axes if axis.get_visible()):
        for box in (axis.get_window_extent(), axis.xaxis.label.get_window_extent()):
            assert not any(legend.overlaps(box) for legend in legends)
    return len(legends)


def test_the_legends_of_the_trajectory_cover_no_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    axes = drawn_axes(monkeypatch, mechanism)
    names = [key for panel in mechanism._PANELS.values() for key in panel]
    table = pd.DataFrame({name: np.arange(3.0) for name in names}).assign(epoch=[0, 10, 20])
    mechanism.trajectory_picture(table, tmp_path / "t.png")
    assert free_of_legends(axes) == len(mechanism._PANELS)


LOSSES = {
    "Loss of the method": ["train_nce_loss", "train_loss", "train_byol_loss_epoch"],
    "Loss of the online probe": [
        "train_class_loss", "val_loss", "val_class_loss", "train_momentum_class_loss_epoch",
        "val_momentum_loss", "val_momentum_class_loss",
    ],
}  # fmt: skip


def test_the_losses_of_method_and_probe_have_axes_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    axes = drawn_axes(monkeypatch, curves)
    names = [name for panel in LOSSES.values() for name in panel]
    table = pd.DataFrame({name: np.arange(3.0) for name in names}).assign(epoch=[0, 1, 2])
    curves.training_curves(table, tmp_path / "t.png")
    shown = {axis.get_title(): {str(line.get_label()) for line in axis.lines} for axis in axes}
    assert shown == {title: {curves._legend(name) for name in ns} for title, ns in LOSSES.items()}
    assert free_of_legends(axes) == 2


def test_a_legend_stands_as_far_below_a_high_axis_as_below_a_low_one() -> None:
    gaps = []
    for height in (3.0, 9.0):
        (axis,) = new_figure(1, 1, height=height)
        axis.plot([0, 1], label="line")
        axis.set_xlabel("x")
        legend_below(axis, 1)
        axis.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
        legend = axis.get_legend()
        assert legend is not None
        gaps.append(axis.get_window_extent().y0 - legend.get_window_extent().y1)
    assert gaps[0] == pytest.approx(gaps[1], abs=2) and gaps[0] > 0
