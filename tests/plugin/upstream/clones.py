"""Repositories that have of a host just what a pull request looks at, and git in them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from solo_dyntemp.upstream.changes import Kit

LICENCE = "# Copyright\n\n# Permission is hereby granted, free of charge\n\n"


def setup(version: str) -> str:
    """solo-learn's setup.py, as far as it is looked at."""
    return f'setup(name="solo-learn", packages=find_packages(),\n      version="{version}")\n'


# how a file begins, where an edit wants more than a line of its own
STARTS = {
    "setup.py": setup("1.0.6"),
    "lightly/__init__.py": '__version__ = "1.5.26"\n',
    "solo/methods/simclr.py": "from typing import Any\n",
    "docs/source/examples/simclr.rst": "- text\n\nReference:\n",
}
# regular expressions of edits that are no line -> lines that they match
LINES = {
    r"^    sim = torch\.exp\((torch\.einsum\(.*\)) / temperature\)$":
        "    sim = torch.exp(torch.einsum(z) / temperature)",
    r" = (torch\.(?:cat|einsum)\(.*\)) / self\.temperature$":
        "\n".join(["x = torch.cat(y) / self.temperature"] * 5),
}  # fmt: skip
OTHERS = (r"\Z", r"\A", r"(?<=", r"\n\n")


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    assert not done.returncode, done.stderr + done.stdout
    return done.stdout


def committed(folder: Path) -> Path:
    """Make a repository of a folder, with one commit on main."""
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    return folder


def fill(folder: Path, kit: Kit) -> None:
    """Write the files that a pull request changes or is made from, if they are not there."""
    texts: dict[str, str] = {}
    for path in ("solo/losses/simclr.py", kit.host.version_file, *(e.path for e in kit.edits)):
        python = path.endswith(".py") and path != kit.host.version_file
        texts[path] = LICENCE * python + STARTS.get(path, "import torch\n" * python)
    for edit in kit.edits:
        if not edit.old.startswith(OTHERS):
            line = LINES.get(edit.old) or re.sub(r"\\(.)", r"\1", edit.old.strip("^$"))
            texts[edit.path] += f"{line}\n"
    for source, lines in kit.recipes.values():
        texts[source] = "".join(line if line.endswith("\n") else f'{line}data"\n' for line in lines)
    for path, text in texts.items():
        if not (folder / path).exists():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)


def everything(folder: Path) -> tuple[dict[str, bytes], str]:
    """All files outside .git, and what git says."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    inside = {path: text for path, text in files.items() if "/.git/" not in path}
    return inside, git(folder, "log", "--all", "--format=%H %D") + git(folder, "status")
