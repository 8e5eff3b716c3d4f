"""The image files that a user names: one folder, one file, or a list of files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from solo_registry.data.files import images_below
from solo_registry.data.pixels import SUFFIXES
from solo_registry.errors import UserError, nearest
from solo_registry.paths import as_text, exists, is_dir, is_file

Source = str | Path | Iterable[str | Path]


@dataclass(frozen=True)
class ImageFiles:
    """Image files in a fixed order.

    Attributes:
        root: the folder that the names are relative to.
        names: the files, which also name the rows of a result.
    """

    root: Path
    names: list[str]

    @property
    def texts(self) -> list[str]:
        """The names as a table holds them."""
        return [as_text(name) for name in self.names]

    def path(self, index: int) -> Path:
        """Return the path of file `index`."""
        return self.root / self.names[index]


def find_images(source: Source) -> ImageFiles:
    """Return the image files of `source`.

    Args:
        source: a folder, of which all images at any depth are taken; an image file; or several
            files, which keep their order.

    Raises:
        UserError: a path does not exist, or there is no image.
    """
    if not isinstance(source, str | Path):
        files = [_existing(Path(path).expanduser()) for path in source]
        if not files:
            raise UserError("no image files are given")
        return ImageFiles(Path(), [str(path) for path in files])
    path = _existing(Path(source).expanduser())
    if is_file(path):
        return ImageFiles(path.parent, [path.name])
    (names,) = images_below(path, [path])
    if not names:
        raise UserError(f"no images in {path}; formats: {', '.join(sorted(SUFFIXES))}")
    return ImageFiles(path, names)


def _existing(path: Path) -> Path:
    if exists(path):
        return path
    siblings = [each.name for each in path.parent.glob("*")] if is_dir(path.parent) else []
    raise UserError(f"{path} does not exist.{nearest(path.name, siblings)}")
