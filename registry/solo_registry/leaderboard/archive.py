"""Packs a board into one file that holds all that its report needs, to publish with the table."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.config.text_file import read_yaml
from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.runs.records import json_or_empty
from solo_registry.runs.run_folder import atomic_write, json_text

SUFFIX = ".tar.xz"
KEPT = ("cost.json", "environment.json", "error.json", "metrics.csv", "resolved.yaml",
        "result.json")  # fmt: skip
PRIVATE = ("argv", "host", "traceback")  # the machine's name, and its paths
PATHS = ("train_path", "val_path", "class_list", "index_file")  # only their last part is kept


def pack(path: Path, out: Path | None = None) -> Path:
    """Write a board and the small files of its runs into one archive; equal boards, equal bytes.

    The archive does not contain checkpoints, pictures and logs, nor the machine's name and the path
    of the runs.

    Args:
        path: the board.
        out: path of the archive; `path` with `.tar.xz` if None.

    Returns:
        The archive.

    Raises:
        UserError: there is no board, or the name does not end in `.tar.xz`.
    """
    board = Board.read(path)
    out = out or path.with_name(path.name + SUFFIX)
    if not out.name.endswith(SUFFIX):
        raise UserError(f"an archive's name ends in {SUFFIX}, got {out}")
    files = {
        "board.json": json_text(board.plan | {"runs_dir": "runs"}).encode(),
        "selected.json": json_text(board.selected).encode(),
    }
    for place in sorted({str(job["path"]) for job in board.plan["jobs"]}):
        for name in KEPT:
            if (file := board.runs_dir / place / name).is_file():
                files[f"runs/{place}/{name}"] = _public(file)
    with atomic_write(out) as part, tarfile.open(part, "w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{out.name.removesuffix(SUFFIX)}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack the board of an archive into a temporary folder, and remove it on exit.

    Raises:
        UserError: the file is no archive of a board.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(path, "r:xz") as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise UserError(f"{path} is no archive of a board, or damaged: {error}") from error
        boards = list(Path(folder).glob("*/board.json"))
        if len(boards) != 1:
            raise UserError(f"{path} holds {len(boards)} boards, not one")
        yield boards[0].parent


def _public(file: Path) -> bytes:
    """Read a file of a run without its private parts; return a damaged file unchanged."""
    if file.name in ("environment.json", "error.json"):
        found = json_or_empty(file)
        return json_text({key: found[key] for key in found if key not in PRIVATE}).encode()
    if file.name == "resolved.yaml":
        with suppress(OSError, ValueError, OmegaConfBaseException):
            cfg: Any = read_yaml(file, "resolved.yaml")  # another person's: no resolver runs
            cfg.runs_dir = "runs"
            for section in (cfg.data, cfg.data.long_tail):
                section.update({key: Path(section[key]).name for key in PATHS if section.get(key)})
            return OmegaConf.to_yaml(cfg).encode()
    return file.read_bytes()
