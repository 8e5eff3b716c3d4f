"""Ends a process at its N-th write, as `kill -9` would, whatever command it runs.

    code = kill_at(3, root, function, argument)     # 137: killed there; 0: it made fewer writes

Counted is every file that Python opens to write, and every rename and removal, below `root`. The
process dies before the N-th of them. A file that is being opened is left with half a line in it,
as a write that was cut off leaves it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from solo_registry.catalog.plugins import load_plugins
from solo_registry.jobs.worker import context

KILLED = 137
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill_at(number: int, root: Path, target: Callable[..., Any], *args: Any) -> int:
    """Run `target(*args)` in a process of its own that dies at a write; return its exit code.

    Args:
        number: the write, from 1; 0 lets the process run to its end.
        root: the folder whose files count.
        target: an importable function.
        *args: its arguments.
    """
    process = context().Process(target=_child, args=(number, str(root.resolve()), target, args))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _child(number: int, root: str, target: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    load_plugins()
    left = number

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in CHANGES and not (event == "open" and given[2] & WRITING):
            return
        path = given[0]
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(root):
            return
        left -= 1
        if left == 0:
            if event == "open" and not os.path.isdir(path):
                left = -1
                Path(os.fsdecode(path)).write_bytes(b"half a li")
            os._exit(KILLED)

    if number:
        sys.addaudithook(hook)
    target(*args)
