"""The frozen backbone of a run as a function from image files to features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from solo_registry.config.devices import cores
from solo_registry.config.text_file import open_file
from solo_registry.data.augment import EvalTransform
from solo_registry.data.pixels import decode
from solo_registry.errors import UserError
from solo_registry.evaluation.features import BATCH, embedding
from solo_registry.inference.files import ImageFiles
from solo_registry.processes import serve_loaders
from solo_registry.runs.loaded_run import LoadedRun

ALONE = 4 * BATCH  # up to so many files, loader processes would cost more than they save
NAMED = 3  # number of unreadable files that a warning names


@dataclass(frozen=True)
class Embedded:
    """Features of image files.

    Attributes:
        files: the files that could be read, in their order.
        feats: (N, D) float32 features, one row per file.
    """

    files: ImageFiles
    feats: Tensor


class Encoder:
    """The backbone of a run, with the preprocessing of its evaluation.

    Args:
        run: the opened run.
        device: where features are computed; a GPU if there is one, by default.

    Attributes:
        model: the method with the run's weights, in evaluation mode.
        channels: number of channels of its input.
        size: height and width of its input, in pixels.
        embedding: preprocessed images (N, C, H, W) -> features and projections, on the CPU.

    Raises:
        UserError: the run has no checkpoint, or the checkpoint is damaged.
    """

    def __init__(self, run: LoadedRun, device: str | None = None) -> None:
        self.run = run
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.info = run.info()
        self.channels = self.info.channels
        self.size = run.cfg.augmentations[0].crop_size
        self.transform = EvalTransform(self.info, self.size)
        self.model = run.untrained(initial=False)
        run.load_weights(self.model)
        self.model.eval()
        self.embedding = embedding(self.model, self.device, "backbone")

    def preprocess(self, image: str | Path | Image.Image | np.ndarray[Any, Any] | Tensor) -> Tensor:
        """Return the input of the backbone for one image, as evaluation makes it.

        Args:
            image: a file; a PIL image; or 8-bit pixels, (H, W, C) as an array or (C, H, W) as a
                tensor.

        Returns:
            float32 (C, size, size), normalised by the run's mean and std.

        Raises:
            UserError: pixels of another type or number of channels.
        """
        if isinstance(image, str | Path):
            return read_image(Path(image), self.channels, self.transform)
        if isinstance(image, Image.Image):
            image = np.array(image.convert("RGB" if self.channels == 3 else "L"))
        if not isinstance(image, Tensor):
            pixels = torch.from_numpy(np.array(image))
            image = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
        if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != self.channels:
            raise UserError(
                f"an image must be 8-bit pixels of {self.channels} channels, got "
                f"{image.dtype} of shape {tuple(image.shape)}"
            )
        return self.transform(image)

    def __call__(self, X: Tensor) -> Tensor:
        """Return features (N, D), float32 on the CPU, of preprocessed images (N, C, H, W)."""
        return self.embedding(X)[0]

    def backbone(self) -> nn.Module:
        """Return the backbone: preprocessed images (N, C, H, W) -> features (N, D)."""
        return self.model.backbone

    def embed(self, files: ImageFiles, console: Console) -> Embedded:
        """Compute the features of files; a warning names those that cannot be read.

        Raises:
            UserError: none of the files can be read.
        """
        several = len(files.names) > ALONE
        workers = min(int(self.run.cfg.data.num_workers), cores()) if several else 0
        serve_loaders(workers)
        loader = DataLoader(
            _Files(files, self),
            batch_size=BATCH,
            num_workers=workers,
            collate_fn=_split,
        )
        feats: list[Tensor] = []
        readable: list[int] = []
        broken: dict[int, str] = {}
        for indexes, views, problems in track(
            loader, "embedding", console=console, transient=True, disable=not console.is_terminal
        ):
            broken |= problems
            if indexes:
                readable += indexes
                feats.append(self(views))
        if not readable:
            index, reason = next(iter(broken.items()))
            raise UserError(
                f"none of the {len(files.names)} images can be read; {files.path(index)}: {reason}"
            )
        if broken:
            named = [f"{files.path(index)} ({why})" for index, why in broken.items()][:NAMED]
            warnings.warn(
                f"left out {len(broken)} of {len(files.names)} images that cannot be read: "
                f"{'; '.join(named)}{' ...' if len(broken) > NAMED else ''}",
                stacklevel=2,
            )
        names = [files.names[index] for index in readable]
        return Embedded(ImageFiles(files.root, names), torch.cat(feats))


def read_image(path: Path, channels: int, transform: EvalTransform) -> Tensor:
    """Return an image file as the backbone's input, float32 (C, size, size)."""
    with open_file(path) as file:
        return transform(decode(file, channels))


class _Files(Dataset[tuple[int, Tensor | str]]):
    """(index, preprocessed image), or (index, why the file cannot be read)."""

    def __init__(self, files: ImageFiles, encoder: Encoder) -> None:
        self.files = files
        self.channels, self.transform = encoder.channels, encoder.transform

    def __len__(self) -> int:
        return len(self.files.names)

    def __getitem__(self, index: int) -> tuple[int, Tensor | str]:
        try:
            return index, read_image(self.files.path(index), self.channels, self.transform)
        except Exception as error:  # Pillow raises whatever it meets in broken bytes
            return index, str(error) or type(error).__name__


def _split(items: list[tuple[int, Any]]) -> tuple[list[int], Tensor | None, dict[int, str]]:
    """Part what was read from what was not."""
    good = {index: view for index, view in items if isinstance(view, Tensor)}
    problems = {index: why for index, why in items if isinstance(why, str)}
    return list(good), torch.stack(list(good.values())) if good else None, problems
