"""Finds the image files below the user's folders."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from solo_registry.config.own_data import is_shown
from solo_registry.config.text_file import open_file
from solo_registry.data.pixels import FORMATS, SUFFIXES
from solo_registry.errors import UserError

# suffixes of images that are not read; below, those that Pillow opens but not as pixels are added
LIKE_IMAGES = {
    ".arw", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".hdr", ".heic", ".heif", ".jxl", ".jxr",
    ".nef", ".nii", ".npy", ".npz", ".orf", ".raf", ".raw", ".rw2", ".svg", ".tga", ".xcf",
}  # fmt: skip
# suffixes that Pillow opens, of files that usually lie beside images for another reason
NO_IMAGES = {".bufr", ".fit", ".grib", ".h5", ".hdf", ".iim", ".im", ".mpeg", ".mpg", ".pdf", ".ps"}
LIKE_IMAGES |= {*Image.registered_extensions()} - SUFFIXES - NO_IMAGES
TRIES = 10  # number of files of an unknown suffix that are opened to see whether they are images
Place = tuple[int, int]


def images_below(root: Path, folders: Iterable[Path]) -> list[list[str]]:
    """Return the sorted paths, relative to `root`, of the image files anywhere below each folder.

    Links are followed: a folder or file that is linked from several places counts at each of them.
    A link to a folder that contains the link is not followed. A warning counts the files that were
    left out and may be images, by reason and suffix.

    Raises:
        UserError: a folder cannot be read.
    """
    search = _Search()
    found = [
        sorted(
            os.path.relpath(path, root)
            for path in search.below(folder, chain(folder) | chain(folder.parent))
        )
        for folder in folders
    ]
    search.warn_of_the_rest(root)
    return found


class _Search:
    """A search through folders; it remembers the files that it left out."""

    def __init__(self) -> None:
        self.left_out: dict[str, list[str]] = defaultdict(list)
        self.like_images = LIKE_IMAGES.copy()
        self.tried: Counter[str] = Counter()

    def below(self, folder: str | Path, above: frozenset[Place]) -> Iterator[str]:
        """Yield the image files below `folder`; `above` are the real folders on the way to it."""
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
        for entry in filter(lambda entry: is_shown(entry.name), found):
            suffix = os.path.splitext(entry.name)[1].lower()
            if _is_folder(entry):
                there = place(entry.path)
                if there in above:
                    self.left_out["links to a folder that they lie in"].append(entry.path)
                    continue
                linked = chain(entry.path) if entry.is_symlink() else frozenset({there})
                yield from self.below(entry.path, above | linked)
            elif suffix in SUFFIXES:
                yield entry.path  # even a link that leads nowhere: reading it raises and names it
            elif not os.path.exists(entry.path):
                self.left_out["links that lead nowhere"].append(entry.path)
            elif self._may_be_image(entry.path, suffix):
                what = f"files that end in {suffix}" if suffix else "files without a suffix"
                self.left_out[what].append(entry.path)

    def _may_be_image(self, path: str, suffix: str) -> bool:
        """Whether a file may be an image; the first files of an unknown suffix are opened."""
        if suffix not in self.like_images and self.tried[suffix] < TRIES:
            self.tried[suffix] += 1
            if _holds_image(path):
                self.like_images.add(suffix)
        return suffix in self.like_images

    def warn_of_the_rest(self, root: Path) -> None:
        """Warn of what was left out, if anything was."""
        if not self.left_out:
            return
        rest = "; ".join(
            f"{what}: {len(paths)}, such as {os.path.relpath(min(paths), root)}"
            for what, paths in sorted(self.left_out.items())
        )
        warnings.warn(
            f"left out below {root}: {rest}. Files are read that end in "
            f"{', '.join(sorted(SUFFIXES))}",
            stacklevel=4,
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def place(folder: str | Path) -> Place:
    """Return device and inode of a folder, which are the same for all paths that lead to it."""
    there = os.stat(folder)
    return there.st_dev, there.st_ino


def chain(folder: str | Path) -> frozenset[Place]:
    """Return the places of a folder and of all real folders above it."""
    real = Path(os.path.realpath(folder))
    return frozenset(place(each) for each in (real, *real.parents))


def _holds_image(path: str) -> bool:
    try:
        with open_file(Path(path)) as file, Image.open(file, formats=FORMATS):
            return True
    except Exception:  # Pillow raises whatever it meets in other files
        return False


def composed(name: str) -> str:
    r"""Return a name with accents as one character each (Unicode NFC).

    macOS writes an accented character as two. A person sees no difference, so we ignore it too.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)
