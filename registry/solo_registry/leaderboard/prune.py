"""`dyntemp leaderboard prune`: frees the space of checkpoints that a board no longer needs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from solo_registry.leaderboard.board import Board
from solo_registry.paths import exists
from solo_registry.runs.lock import held
from solo_registry.runs.run_folder import RunFolder


def prune(path: Path, console: Console) -> str:
    """Remove the last checkpoint of each finished tuning run of a board.

    The selection reads their numbers alone. Final runs keep their weights, and runs that are not
    finished keep what they resume from. So do runs whose files are damaged.

    Args:
        path: the board.
        console: where a wait for a run that another process measures is announced.

    Returns:
        How much was freed.

    Raises:
        UserError: there is no board, or it is damaged.
    """
    freed, runs = 0, 0
    for job, record in Board.read(path).records().items():
        run = RunFolder(record.path)
        if job.phase == "final" or record.status != "finished" or record.problem:
            continue
        sizes = [file.stat().st_size for file in (run.checkpoint, run.inside) if exists(file)]
        if sizes:
            with held(run.path, console):
                run.checkpoint.unlink(missing_ok=True)
                run.inside.unlink(missing_ok=True)
            freed, runs = freed + sum(sizes), runs + 1
    return f"freed {freed / 1e9:.2f} GB: checkpoints of {runs} finished tuning runs"
