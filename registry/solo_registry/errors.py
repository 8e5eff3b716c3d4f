"""Errors that a user can act on, told without a stack trace."""

from __future__ import annotations

import difflib
import errno
import re
import traceback
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

SPACE = "Free some space. The same command goes on from what is saved"
CURES = {
    errno.ENOSPC: f". {SPACE}",
    errno.EDQUOT: f". {SPACE}",
    errno.EMFILE: ". `ulimit -n` raises the number of files that may be open",
}
# what libraries say without an OSError
SIGNS = {
    "DataLoader worker": "A process that loads images has ended, often because the memory or "
    "/dev/shm was full: try a smaller data.num_workers, or 0. The same command goes on from the "
    "last finished epoch",
    "file write failed": SPACE,  # torch.save's
    "(os error": SPACE,  # safetensors'
}
# what Hydra's launchers run jobs with; errors of a job itself do not come from their code
RUNNERS = ("joblib", "ray", "submitit")
RAISED_AGAIN = {"RayTaskError", "_RemoteTraceback"}  # what marks the error of a job itself


class UserError(ValueError):
    r"""Something the user asked for cannot be done; the text says what, why and what would work.

    Args:
        text: one paragraph. torch raises an error of a loader's process again with all of its trace
            as text; the paragraph is cut out of it, and the trace becomes the cause.

    >>> trace = "Caught UserError in DataLoader worker process 0.\n...UserError: no image\n"
    >>> str(UserError(trace))
    'no image'
    """

    def __init__(self, text: str = "") -> None:
        if text.startswith(f"Caught {type(self).__name__} in "):
            self.__cause__ = RuntimeError(text)
            text = text.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(text)


class Unreachable(UserError):
    """Images cannot be fetched, from the net for example; it says nothing about one of them."""


def told(error: BaseException) -> UserError | None:
    """Return what a command prints in place of a stack trace; None if this is for a developer.

    Told are a user's mistakes, what the machine refuses (a file, space on the disk, memory), and
    what ended the processes of a launcher, or kept them from starting.

    Args:
        error: what ended the command.

    >>> print(told(PermissionError(13, "Permission denied", "runs/a")))
    Permission denied: 'runs/a'
    >>> told(ValueError("a bug")) is None
    True
    """
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split())
        if isinstance(cause, UserError):
            return cause
        if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):
            place = "" if cause.filename is None else f": {str(cause.filename)!r}"
            cure = CURES.get(cause.errno or 0, "")
            return UserError(f"{cause.strerror or text}{place}{cure}")
        if isinstance(cause, MemoryError):
            return UserError(f"the memory is full{': ' if text else ''}{text}")
        for sign, cure in SIGNS.items():
            if sign in text and isinstance(cause, RuntimeError | ValueError):
                return UserError(f"{text[:300]}. {cure}")
        if runner := of_runner(cause):
            return UserError(
                f"the launcher failed ({runner}): {_reason(cause)} Jobs that it has started may "
                "still run. The same command goes on from what is saved"
            )
        cause = cause.__cause__
    return None


def of_runner(error: BaseException) -> str:
    """Return the package of `RUNNERS` whose code raised an error; "" if none did."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    package = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
    kinds = {kind.__name__ for kind in (*type(error).__mro__, type(error.__cause__))}
    return package if package in RUNNERS and not kinds & RAISED_AGAIN else ""


def _reason(error: BaseException) -> str:
    """Return an error's text, one paragraph, without what submitit copies of a job's log."""
    shown, *copied = re.split(r"\n-{5,}\n", str(error).strip())
    if "with trace" in shown:  # the job's own error is the last line of the trace
        shown = "\n".join([shown, copied[0].strip().rpartition("\n")[2], *copied[1:]])
    reason = " ".join(shown.split())[:600] or type(error).__name__
    return reason if reason.endswith((".", "?", "!")) else f"{reason}."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest spelling of `name`, or an empty string.

    >>> nearest("simclr_dyntmp", ["simclr", "simclr_dyntemp"])
    " Did you mean 'simclr_dyntemp'?"
    >>> nearest("DOG", ["cat", "dog"])
    " Did you mean 'dog'?"
    >>> nearest("zebra", ["simclr"])
    ''
    """
    names = list(known)
    matches = [other for other in names if other.casefold() == name.casefold()]
    matches = matches or difflib.get_close_matches(name, names, n=1)
    return f" Did you mean '{matches[0]}'?" if matches else ""


class MissingBench(ModuleNotFoundError):
    """The losses are installed without the extra that everything else needs."""


def require_bench(who: str) -> None:
    """Check that the packages of the extra `bench` are installed; imports none of them.

    Args:
        who: what needs them, as the subject of the error.

    Raises:
        MissingBench: a package is missing; the text says what to install.
    """
    missing = [name for name in bench_packages() if not _installed(name)]
    if missing:
        some = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        raise MissingBench(
            f"{who} needs more packages than the losses: pip install 'solo-dyntemp[bench]' "
            f"({len(missing)} missing: {some})"
        )


def bench_packages() -> list[str]:
    """Return the names of the packages that setup.py lists for the extra `bench`."""
    needs = requires("solo-dyntemp") or ()
    names = (re.match(r"[\w.-]+", need) for need in needs if re.search(r"extra == .bench.", need))
    return [name[0] for name in names if name]


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
