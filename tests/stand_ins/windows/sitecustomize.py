"""Stands in for Windows in every process whose PYTHONPATH has this folder.

Nobody here has such a machine. What breaks a program there is known, and done here by hand:

- `sys.platform` is win32 for our modules; names and modules of Unix are absent.
- Processes start by `spawn`; a signal that is sent to one ends it.
- Below the folder DYNTEMP_WINDOWS a file that any process has open, or maps, is neither moved nor
  removed; nothing is renamed to what exists; some characters are in no name.
- Text files get lines that end in CR and LF.
"""

from __future__ import annotations

import builtins
import errno
import io
import multiprocessing.context
import os
import re
import select
import shutil
import signal
import stat
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = ("solo_registry", "solo_dyntemp", "dyntemp")
ROOT = os.environ["DYNTEMP_WINDOWS"]
NO_MODULE = ("resource", "fcntl", "pwd", "grp", "termios")
NO_NAME = {
    os: ("fork", "getuid", "geteuid", "killpg", "setsid", "sched_getaffinity", "sched_setaffinity",
         "pidfd_open", "statvfs", "mkfifo", "uname", "nice", "getloadavg"),
    select: ("poll", "epoll", "POLLIN"),
    signal: ("pthread_sigmask", "pthread_kill", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP",
             "SIGALRM", "SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK", "alarm", "setitimer"),
    sys: (),
}  # fmt: skip
NO_PART = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]$')
really_import, really_open = builtins.__import__, io.open


class Part(ModuleType):
    """A module as Windows has it."""

    def __init__(self, module: ModuleType, absent: Sequence[str], **own: Any) -> None:
        super().__init__(module.__name__)
        vars(self).update(_module=module, _absent=absent, _own=own)

    def __getattr__(self, name: str) -> Any:
        if name in self._absent:
            raise AttributeError(f"Windows has no {self.__name__}.{name}")
        return self._own[name] if name in self._own else getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)


def kill(pid: int, number: int) -> None:
    os.kill(pid, signal.SIGKILL)


OWN: dict[str, dict[str, Any]] = {"os": {"kill": kill, "name": "nt"}, "sys": {"platform": "win32"}}
PARTS = {
    module.__name__: Part(module, absent, **OWN.get(module.__name__, {}))
    for module, absent in NO_NAME.items()
}


def imported(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> Any:
    if globals and str(globals.get("__name__")).partition(".")[0] in OURS and not level:
        if name in NO_MODULE:
            raise ModuleNotFoundError(f"Windows has no {name}", name=name)
        if name in PARTS:
            return PARTS[name]
    return really_import(name, globals, locals, fromlist, level)


def opened(
    file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
    newline: Any = None, *more: Any, **named: Any,
) -> Any:  # fmt: skip
    if newline is None and "b" not in mode and set(mode) & set("wax") and not isinstance(file, int):
        newline = "\r\n"
    return really_open(file, mode, buffering, encoding, errors, newline, *more, **named)


def below(path: Any) -> str | None:
    """The path relative to ROOT, if it is below it."""
    if not isinstance(path, str | os.PathLike):
        return None
    path = os.path.abspath(os.fspath(path))
    return os.path.relpath(path, ROOT) if path.startswith(ROOT + os.sep) else None


def holder(path: str) -> str | None:
    """The process that has a file open or maps it."""
    try:
        wanted = os.stat(path)
    except OSError:
        return None
    for pid in filter(str.isdigit, os.listdir("/proc")) if stat.S_ISREG(wanted.st_mode) else ():
        try:
            with really_open(f"/proc/{pid}/maps") as maps:
                if any(f" {wanted.st_ino} " in line for line in maps):
                    return f"{pid}, which maps it"
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                if handle.exists() and os.path.samestat(handle.stat(), wanted):
                    return pid
        except OSError:  # it has ended, or belongs to someone else
            continue
    return None


def guard(name: str) -> None:
    really = getattr(os, name)

    def guarded(*args: Any, **named: Any) -> Any:
        paths = [path for path in args[:2] if below(path) is not None]
        for path in paths:
            if process := holder(path):
                raise PermissionError(errno.EACCES, f"WinError 32, held by {process}", path)
        if name == "rename" and paths and os.path.exists(args[1]):
            raise FileExistsError(errno.EEXIST, "WinError 183", args[1])
        return really(*args, **named)

    setattr(os, name, guarded)


def refuse_names(event: str, args: tuple[Any, ...]) -> None:
    if event in ("open", "os.mkdir", "os.rename"):
        for path in args[:2]:
            parts = (below(path) or "").split(os.sep)
            if any(NO_PART.search(part) for part in parts if part not in (".", "..")):
                raise OSError(errno.EINVAL, "WinError 123", path)


for each in ("replace", "rename", "unlink", "remove"):
    guard(each)
builtins.__import__ = imported
builtins.open = io.open = opened
shutil._use_fd_functions = False  # type: ignore[attr-defined]
contexts = multiprocessing.context._concrete_contexts  # type: ignore[attr-defined]
multiprocessing.context._default_context._default_context = contexts["spawn"]  # type: ignore[attr-defined]
for each in ("fork", "forkserver"):
    del contexts[each]
sys.addaudithook(refuse_names)
