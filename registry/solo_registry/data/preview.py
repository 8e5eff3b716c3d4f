"""Shows what the augmentation makes of a data set's images."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.config.resolve import resolve
from solo_registry.data.from_images import completed
from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.opened import open_data
from solo_registry.data.sampling import PretrainSet
from solo_registry.errors import UserError
from solo_registry.plots.views import image_grid

SUFFIXES = (".png", ".jpg", ".pdf", ".svg")


def data_for_preview(given: DictConfig, out: Path) -> PretrainDataModule:
    """Open the data of a run as far as its views depend on them.

    Every loader shows the same views, and no batch is made: so neither DALI nor as many images as a
    batch has are needed.

    Raises:
        UserError: a wrong setting, images that are not there, or `out` is no name of a picture.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out}: a picture's name ends in {', '.join(SUFFIXES)}")
    cfg = resolve(given)
    opened = open_data(cfg.data)
    cfg, _ = completed(cfg, opened)
    cfg.optimizer.batch_size = 1
    if cfg.data.format != "h5":
        cfg.data.format = "image_folder"
    return build_data(cfg, opened)


def draw_views(data: PretrainDataModule, out: Path | str, *, images: int = 6) -> Path:
    """Draw training images, evenly spaced in the set, and the views that epoch 0 shows of them.

    Args:
        data: the data of a run.
        out: path of the picture: a row an image, the original first, then each view.
        images: number of rows; fewer if the set has fewer.

    Returns:
        The path.

    Raises:
        UserError: an image cannot be read.
        ValueError: the path has no suffix of a picture.
        OSError: the file cannot be written.
    """
    count = min(images, len(data.train_set))
    chosen = torch.linspace(0, len(data.train_set) - 1, count).round().long().tolist()
    items = PretrainSet(data.train_set, data.views, data.seed).__getitems__(
        [(0, index) for index in chosen]
    )
    std, mean = (torch.tensor(x).view(-1, 1, 1) for x in (data.info.std, data.info.mean))
    columns: dict[str, list[Tensor]] = {
        "image": [data.train_set[index][0] / 255 for index, _, _ in items]
    }
    for view in range(data.views.num_large + data.views.num_small):
        name = f"view {view + 1}" + (", small" if view >= data.views.num_large else "")
        columns[name] = [views[view] * std + mean for _, views, _ in items]
    return image_grid(columns, out)
