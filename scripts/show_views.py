"""Write a PNG of the views that every loader makes of the same images, side by side.

    python scripts/show_views.py --augmentations symmetric96 --out views.png
    python scripts/show_views.py --data cifar10 --path datasets --augmentations multicrop32

Without --data the images are cut out of scikit-learn's two sample photographs. A row is an image:
the image itself, then each view by each loader.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import solo_registry.configs
import torch
from omegaconf import OmegaConf
from torch import Tensor

from solo_registry.catalog.plugins import load_plugins
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.sets import ImageSet, SetInfo, TensorSet, load_set
from solo_registry.errors import UserError
from solo_registry.plots.views import image_grid

LOADERS = {"image_folder": "one by one", "on_device": "on device", "dali": "DALI"}


def photographs(size: int) -> TensorSet:
    """Cut scikit-learn's sample photographs into squares, those with the most contrast first."""
    from sklearn.datasets import load_sample_images

    photos = torch.stack([torch.from_numpy(image.copy()) for image in load_sample_images().images])
    tiles = photos.unfold(1, size, size).unfold(2, size, size)  # (2, rows, columns, C, size, size)
    tiles = tiles.transpose(0, 2).reshape(-1, 3, size, size).contiguous()
    tiles = tiles[tiles.float().std((1, 2, 3)).argsort(descending=True)]
    info = SetInfo("photographs", 1, 3, size, (0.5,) * 3, (0.25,) * 3, ("photograph",))
    return TensorSet(info, tiles, torch.zeros(len(tiles)))


def views(images: ImageSet, augmentations: Any, form: str, seed: int, count: int) -> list[Any]:
    """Return the views of the first images by one loader, in the images' order."""
    cfg = OmegaConf.create(
        {
            "seed": seed,
            "augmentations": augmentations,
            "optimizer": {"batch_size": count},
            "data": {"format": form, "num_workers": 0},
        }
    )
    module = PretrainDataModule(cfg, images.subset(range(count)), None)
    indexes, shown, _ = next(iter(module.train_dataloader()))
    order = indexes.argsort()
    std, mean = (torch.tensor(x).view(-1, 1, 1) for x in (module.info.std, module.info.mean))
    return [(view[order] * std + mean).clamp(0, 1) for view in shown]


def plot_views(images: ImageSet, by_loader: dict[str, list[Tensor]], count: int, out: Path) -> None:
    """Draw the grid."""
    columns: dict[str, list[Tensor]] = {"image": [images[row][0] / 255 for row in range(count)]}
    for view in range(len(next(iter(by_loader.values())))):
        for form, shown in by_loader.items():
            columns[f"view {view + 1}\n{LOADERS[form]}"] = list(shown[view][:count])
    image_grid(columns, out)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="name of a data set in memory")
    parser.add_argument("--path", help="data.train_path of it")
    parser.add_argument("--augmentations", default="symmetric96", help="a group option")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("views.png"))
    options = parser.parse_args()
    load_plugins()
    (root,) = solo_registry.configs.__path__
    file = Path(root) / "augmentations" / f"{options.augmentations}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml")))
        parser.error(f"--augmentations {options.augmentations}: there are {known}")
    augmentations = OmegaConf.load(file)
    try:
        images: ImageSet | None = photographs(augmentations[0].crop_size)
        if options.data:
            data = SimpleNamespace(dataset=options.data, train_path=options.path)
            images = load_set(data, "train")
        assert images is not None
        count = min(options.images, len(images))
        by_loader = {}
        for form in LOADERS:
            try:
                by_loader[form] = views(images, augmentations, form, options.seed, count)
            except UserError as error:
                print(f"without {form}: {error}")
    except UserError as error:
        parser.error(str(error))
    plot_views(images, by_loader, count, options.out)
    for form, shown in list(by_loader.items())[1:]:
        pairs = zip(by_loader["image_folder"], shown, strict=True)
        off = torch.stack([(a - b).abs().mean((1, 2, 3)) * 255 for a, b in pairs])
        print(
            f"{LOADERS[form]}: mean distance to one by one, in steps of 1/255: "
            f"median {off.median():.2f}, largest {off.max():.2f}"
        )
    print(options.out)


if __name__ == "__main__":
    main()
