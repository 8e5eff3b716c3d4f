"""The picture of an image beside the images that are nearest to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from solo_registry.plots.style import BLUE, new_figure, save

COLUMNS = 5


def neighbours_picture(
    query: Tensor, found: Sequence[tuple[Tensor, str]], out: Path | str, *, title: str = ""
) -> Path:
    """Draw an image and its neighbours, nearest first.

    Args:
        query: the image, uint8 (C, H, W).
        found: each neighbour and the text below it.
        out: path of the picture.
        title: text above the image.

    Raises:
        OSError: if the file cannot be written.
    """
    shown = [(query, title), *found]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    axes = new_figure(rows, columns, width=2.0 * columns, height=2.4 * rows)
    for axis in axes:
        axis.set_axis_off()
    for number, (axis, (image, text)) in enumerate(zip(axes, shown, strict=False)):
        pixels = image.permute(1, 2, 0).numpy()
        axis.imshow(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0,
                    vmax=255)  # fmt: skip
        axis.set_title(text, fontsize="small", parse_math=False)
        if number == 0:  # the image that was asked about
            axis.set_axis_on()
            axis.grid(False)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
            axis.spines[:].set(color=BLUE, linewidth=3)
    return save(axes[0], out)
