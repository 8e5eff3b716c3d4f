"""Packs a board into one file that holds all that its report needs, to publish with the table."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from solo_registry.config.json_file import read_shaped
from solo_registry.config.text_file import open_file
from solo_registry.console import terminal
from solo_registry.errors import UserError
from solo_registry.leaderboard.board import Board
from solo_registry.paths import is_file
from solo_registry.runs.lock import held
from solo_registry.runs.read import read_yaml
from solo_registry.runs.run_folder import atomic_write, json_text

SUFFIX = ".tar.xz"
RUNS = "runs"  # the folder of the runs in an archive
KEPT = ("cost.json", "environment.json", "error.json", "metrics.csv", "resolved.yaml",
        "result.json", "result.sha256")  # fmt: skip
PRIVATE = ("argv", "host", "traceback")  # the machine's name, and its paths
PATHS = ("train_path", "val_path", "class_list", "index_file")  # only their last part is kept
# what a reader accepts, and so what `pack` writes; 210 runs have 1,052 files and 3 MB
LARGEST = 256 * 2**20  # bytes, unpacked
MOST = 50_000  # files
MEMORY = 128 * 2**20  # bytes that unpacking may use beside the content; we need 9 MB
CHUNK = 2**20
MEMBER = re.compile(
    rf"[^/\\]+/(board\.json|selected\.json|{RUNS}/([^/\\]+/)+({'|'.join(map(re.escape, KEPT))}))"
)


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
        UserError: there is no board, it is too large, or the name does not end in `.tar.xz`.
    """
    board = Board.read(path)
    out = out or path.with_name(path.name + SUFFIX)
    if not out.name.endswith(SUFFIX):
        raise UserError(f"an archive's name ends in {SUFFIX}, got {out}")
    public = replace(board, plan=replace(board.plan, runs_dir=RUNS))
    files = {name: text.encode() for name, text in public.files().items()}
    for place in sorted({job.path for job in board.plan.jobs}):
        for name in KEPT:
            if is_file(file := board.runs_dir / place / name):
                files[f"{RUNS}/{place}/{name}"] = _public(file)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{out.name.removesuffix(SUFFIX)}/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    if len(files) > MOST or content.tell() > LARGEST:
        raise UserError(
            f"{path} is too large to pack: {len(files)} files and {content.tell()} bytes, at most "
            f"{MOST} and {LARGEST} are read again"
        )
    with held(out, terminal()), atomic_write(out) as part:
        part.write_bytes(lzma.compress(content.getvalue()))
    return out


@contextmanager
def unpacked(path: Path) -> Iterator[Board]:
    """Unpack the board of an archive into a temporary folder, and remove it on exit.

    Nothing is written before the whole archive is known to be sound. The board names no runs but
    its own.

    Raises:
        UserError: the file is no archive of a board, is damaged, or is too large.
    """
    try:
        files = _members(_decompressed(path))
    except (lzma.LZMAError, tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no archive of a board, or damaged: {error}") from error
    plans = [name for name in files if name.endswith("/board.json") and name.count("/") == 1]
    if len(plans) != 1:
        raise UserError(f"{path} holds {len(plans)} boards, not one")
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, content in files.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            board = Board.read(Path(folder, plans[0]).parent)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {str(error).replace(f'{folder}/', '')}") from error
        if board.plan.runs_dir != RUNS:
            raise UserError(f"{path} has its runs elsewhere, at '{board.plan.runs_dir}'")
        yield board


@contextmanager
def opened(path: Path) -> Iterator[Board]:
    """Open a board for reading: its folder, or its archive, which is unpacked until the exit.

    Raises:
        UserError: there is no board, or the archive is damaged.
    """
    if is_file(path):
        with unpacked(path) as board:
            yield board
    else:
        yield Board.read(path)


def _decompressed(path: Path) -> bytes:
    """Decompress a file to its end, where its check sum stands.

    Raises:
        LZMAError, EOFError, OSError: the file is damaged, or cannot be read.
        UserError: the content is too large.
    """
    reader, content = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY), bytearray()
    with open_file(path) as file:
        while not reader.eof:
            chunk = file.read(CHUNK) if reader.needs_input else b""
            if reader.needs_input and not chunk:
                raise OSError("it is cut off")
            content += reader.decompress(chunk, CHUNK)
            if len(content) > LARGEST:
                raise UserError(f"{path} is too large: more than {LARGEST} bytes, unpacked")
        if reader.unused_data or file.read(1):
            raise OSError("something follows its end")
    return bytes(content)


def _members(content: bytes) -> dict[str, bytes]:
    """Return the files of a tar archive by name.

    Raises:
        TarError, ValueError: it is damaged, or holds what `pack` does not write.
    """
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for entry in archive:
            known = MEMBER.fullmatch(entry.name) and ".." not in entry.name.split("/")
            if not known or entry.type != tarfile.REGTYPE or entry.issparse():
                raise ValueError(f"'{entry.name}' is no file of a board")
            if entry.name in files or len(files) == MOST or entry.size > len(content):
                raise ValueError(f"'{entry.name}' is there twice, or one of too many")
            file = archive.extractfile(entry)
            assert file is not None
            files[entry.name] = file.read()
            if len(files[entry.name]) != entry.size:
                raise ValueError(f"'{entry.name}' is cut off")
    return files


def _public(file: Path) -> bytes:
    """Read a file of a run without its private parts; nothing is kept of one that is damaged."""
    try:
        if file.suffix == ".json" and file.name != "result.json":
            found = read_shaped(file, dict[str, Any], "a JSON object", "remove it")
            return json_text({key: found[key] for key in found if key not in PRIVATE}).encode()
        if file.name == "resolved.yaml":
            cfg: Any = read_yaml(file)
            cfg.runs_dir = RUNS
            for section in (cfg.data, cfg.data.long_tail):
                section.update({key: Path(section[key]).name for key in PATHS if section.get(key)})
            return OmegaConf.to_yaml(cfg).encode()
        return file.read_bytes()
    except Exception:  # whatever a damaged YAML raises; the report names the file as damaged
        return b"damaged"
