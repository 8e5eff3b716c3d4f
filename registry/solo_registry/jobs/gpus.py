"""Gives each of several runs at a time GPUs of its own, on a machine with several GPUs.

Otherwise every run with `devices=1` would train on the first GPU. A run claims GPUs by locks that
end with its process, however it ends. Where a scheduler has given the process its GPUs (SLURM,
Ray), these are all that it sees.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from omegaconf import DictConfig

from solo_registry.config.devices import read_devices

_held: dict[str, FileLock] = {}  # by this process, until it ends


def take_gpus(cfg: DictConfig) -> None:
    """Let this process see as many GPUs as `devices` counts, those that the fewest runs have.

    Nothing changes where `devices` names ids or takes all, or if CUDA is in use already. All GPUs
    may be taken; then runs share them evenly. A second run of this process gets those of the first.

    Args:
        cfg: reads `accelerator` and `devices`.
    """
    devices = read_devices(cfg.devices)
    if cfg.accelerator == "cpu" or not isinstance(devices, int):
        return
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if not _held and not begun:  # later, the variable has no effect
        gpus = visible()
        if devices < len(gpus):
            _held.update(claim(gpus, devices, Path(tempfile.gettempdir())))
    if _held:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(_held)


def visible() -> list[str]:
    """Return the GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def claim(gpus: Sequence[str], count: int, folder: Path) -> dict[str, FileLock]:
    """Claim GPUs, without waiting.

    Args:
        gpus: their names.
        count: how many to claim, fewer than there are.
        folder: of the locks, one for each GPU and each run that shares it.

    Returns:
        The locks by GPU.
    """
    claimed: dict[str, FileLock] = {}
    user = getattr(os, "getuid", int)()  # Windows has a folder for each user
    for share in itertools.count():
        for gpu in gpus:
            if len(claimed) == count:
                return claimed
            lock = FileLock(folder / f"dyntemp-{user}-gpu-{gpu}-{share}.lock")
            if gpu not in claimed and _acquired(lock):
                claimed[gpu] = lock
    raise AssertionError("the shares have no end")


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
