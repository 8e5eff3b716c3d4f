"""Finds a run by what a user types: its path, the beginning of its path, or of its hash."""

from __future__ import annotations

from pathlib import Path

from solo_registry.errors import UserError, nearest
from solo_registry.paths import is_dir, is_file

SHOWN = 5


def find_run(text: str | Path, runs_dir: str | Path = "runs") -> Path:
    """Return the run folder, or the checkpoint inside one, that a text names.

    Args:
        text: a run folder; a checkpoint; a folder that holds one run; or the beginning of
            `name/hash/seed`, of `hash/seed` or of a path that starts with `runs_dir`.
        runs_dir: where runs are searched.

    Raises:
        UserError: no run, or several, begin so; the message names some.
    """
    path, text = Path(text).expanduser(), str(text)
    if is_file(path) or is_file(path / "resolved.yaml"):
        return path
    if is_dir(path):
        found = run_folders(path)
        wanted = f"below {path}"
        known = found
    else:
        known = run_folders(Path(runs_dir))
        found = [run for run in known if any(name.startswith(text) for name in _names(run))]
        wanted = f"beginning with '{text}'"
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(map(str, found[:SHOWN]))
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(f"{len(found)} runs {wanted}: {some}{more}. Name one of them")
    hint = nearest(text, [name for run in known for name in _names(run)])
    raise UserError(
        f"no run {wanted}.{hint} A run folder is {runs_dir}/<name>/<hash>/<seed>; dyntemp runs "
        "lists those there are"
    )


def run_folders(runs_dir: Path) -> list[Path]:
    """Return the run folders under a folder, in the order of their paths."""
    return sorted(file.parent for file in runs_dir.rglob("resolved.yaml"))


def _names(run: Path) -> list[str]:
    """Return what a user may begin to type for a run."""
    parts = run.parts
    return [str(run), "/".join(parts[-3:]), "/".join(parts[-2:])]
