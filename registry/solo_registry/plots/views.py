"""A grid of images: a row each, beside it what was made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from solo_registry.plots.style import new_figure, save

_CELL = 1.15  # inches


def image_grid(columns: Mapping[str, Sequence[Tensor]], out: Path | str) -> Path:
    """Draw images in columns of equal length.

    Args:
        columns: the images of each column by its title: (C, H, W), floating in [0, 1], of any
            sizes; of other than 3 channels the first is drawn, in grey.
        out: path of the picture.

    Returns:
        The path.

    Raises:
        ValueError: no columns, columns of different lengths, or a suffix of no picture.
        OSError: the file cannot be written.
    """
    lengths = {len(images) for images in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"columns must have one length of at least 1, got {sorted(lengths)}")
    (rows,) = lengths
    width = max(3.0, _CELL * len(columns))
    axes = new_figure(rows, len(columns), width=width, height=_CELL * rows + 0.3)
    for number, (title, images) in enumerate(columns.items()):
        for row, pixels in enumerate(images):
            axis = axes[row * len(columns) + number]
            shown = pixels if len(pixels) == 3 else pixels[:1].expand(3, -1, -1)
            axis.imshow(shown.permute(1, 2, 0).clamp(0, 1).numpy())
            axis.set_axis_off()
            if row == 0:
                axis.set_title(title, fontsize="x-small")
    return save(axes[0], out)
