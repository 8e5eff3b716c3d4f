"""Runs checks in processes of their own, so that a crash or a hang does not affect us."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

SECONDS = 120  # because the first import of torch from a slow disk takes long


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        topic: the topic that a user names: core, cuda, dali, loggers, hydra, solo, or gpu.
        what: the thing that was checked.
        state: "ok"; "missing" (optional, not installed); "broken" (installed, but does not work);
            "known" (works, with a limit that has a workaround).
        detail: what the check saw.
        cure: the command that repairs it, or an empty text.
    """

    topic: str
    what: str
    state: str
    detail: str = ""
    cure: str = ""


def attempt(program: str) -> tuple[bool, str]:
    """Run Python code in a fresh process.

    Returns:
        Whether it succeeded, and its output or the last line of its error.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {SECONDS} s"
    if done.returncode == 0:
        return True, done.stdout.strip()
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return False, lines[-1].strip() if lines else f"exit code {done.returncode}"


def installed(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def lacking(error: str) -> str | None:
    """Return the module that an error text reports as missing.

    >>> lacking("ModuleNotFoundError: No module named 'einops.layers'")
    'einops'
    """
    _, sign, name = error.partition("No module named '")
    return name.partition("'")[0].partition(".")[0] if sign else None
