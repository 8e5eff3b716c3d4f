"""Computes the changes of a pull request, file by file; this module writes nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import InvalidVersion, Version

from solo_dyntemp.upstream.formula import filled
from solo_registry.errors import UserError

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Host:
    """A project that takes pull requests.

    Attributes:
        name: its name, as `--to` takes it.
        url: its repository.
        version_file: the file that states its version.
        version_line: regular expression of the version in that file.
        version: the version that the kit was tested on.
        commit: the commit that the kit was tested on.
        licence_of: a file with the licence header that new Python files get; empty if none do.
    """

    name: str
    url: str
    version_file: str
    version_line: str
    version: str
    commit: str
    licence_of: str = ""

    @property
    def known(self) -> str:
        """What the kit was tested on."""
        return f"the main of {self.url} at version {self.version} ({self.commit})"


@dataclass(frozen=True)
class Edit:
    """A change of a file that the host has.

    Attributes:
        path: the file.
        old: regular expression of what is replaced; `^` and `$` match at each line.
        new: what it is replaced by; may use groups of `old`.
        done: text that is in the file as many times once the edit is made.
        times: how often `old` must be there.
    """

    path: str
    old: str
    new: str
    done: str
    times: int = 1


@dataclass(frozen=True)
class Kit:
    """One pull request.

    Attributes:
        host: the project it is for.
        feature: its name, as `--feature` takes it.
        branch: the branch of the clone.
        title: title of commit and pull request.
        message: the rest of the commit's message.
        tests: what of the clone's tests concerns it, for pytest.
        tested: how many of them passed, with and without it.
        new_files: path in the clone -> template.
        edits: changes of files that the clone has.
        recipes: path of a new file -> path of the clone's file it is made from, and replacements.
        names: words in templates -> what stands for them.
    """

    host: Host
    feature: str
    branch: str
    title: str
    message: str
    tests: str
    tested: str
    edits: tuple[Edit, ...]
    new_files: Mapping[str, str] = field(default_factory=dict)
    recipes: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A change of a file in the clone: path, text before (None for a new file) and text after."""

    path: str
    before: str | None
    after: str

    def difference(self) -> list[str]:
        """Return the change as the lines of a unified diff."""
        name = self.path if self.before is not None else "/dev/null"
        before = (self.before or "").splitlines()
        return list(
            difflib.unified_diff(before, self.after.splitlines(), name, self.path, lineterm="")
        )

    def size(self) -> int:
        """Return how many lines are added or removed."""
        return sum(line[0] in "+-" for line in self.difference()[2:])


def template(path: str) -> str:
    """Return a template with our formula in it."""
    return filled((TEMPLATES / path).read_text(encoding="utf-8"))


def after(path: str, line: str, *ours: str) -> Edit:
    """Return the edit that inserts our lines after a line of theirs."""
    text = "\n".join((line, *ours))
    return Edit(path, rf"^{re.escape(line)}$", text.replace("\\", r"\\"), f"{text}\n")


def before(path: str, line: str, ours: str) -> Edit:
    """Return the edit that inserts our text before a line of theirs."""
    return Edit(path, rf"^{re.escape(line)}$", (ours + line).replace("\\", r"\\"), ours + line)


def in_place_of(path: str, line: str, *ours: str) -> Edit:
    """Return the edit that replaces a line of theirs."""
    text = "\n".join(ours)
    return Edit(path, rf"^{re.escape(line)}$", text.replace("\\", r"\\"), text)


def at_end(path: str, ours: str) -> Edit:
    """Return the edit that adds our text at the end of a file."""
    return Edit(path, r"\Z", ours.replace("\\", r"\\"), ours)


def planned_changes(clone: Path, kit: Kit) -> list[Change]:
    """Return the changes that `clone` does not have yet; empty if it has all of them.

    Raises:
        UserError: the clone differs in a place that we change.
    """
    changes = [*new_files(clone, kit), *recipes(clone, kit), *edited_files(clone, kit)]
    return [change for change in changes if change.before != change.after]


def check_version(clone: Path, host: Host) -> str:
    """Return the version of the clone.

    Raises:
        UserError: it is another program, or an older version.
    """
    found = re.search(host.version_line, read(clone, host.version_file, host))
    try:
        old = found is None or Version(found[1]) < Version(host.version)
    except InvalidVersion:
        found = None
    if not found:
        raise UserError(
            f"{clone} is another program or an old {host.name}: {host.version_file} does not state "
            f"its version as {host.known}"
        )
    if old:
        raise UserError(f"{clone} is {host.name} {found[1]}, which is older than {host.known}")
    return found[1]


def read(clone: Path, path: str, host: Host) -> str:
    """Return the text of a file that the host has."""
    try:
        return (clone / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{clone} is no clone of {host.name}: {path} cannot be read. The kit knows {host.known}"
        ) from error


def change(clone: Path, path: str, after: str, host: Host) -> Change:
    """Return the change of a file that may exist already."""
    return Change(path, read(clone, path, host) if (clone / path).exists() else None, after)


def new_files(clone: Path, kit: Kit) -> Iterator[Change]:
    """Yield the new files. Python files get the clone's licence header; others are unchanged."""
    for path, source in kit.new_files.items():
        text = named(template(source), kit.names)
        header = licence(clone, kit.host) if kit.host.licence_of and path.endswith(".py") else ""
        yield change(clone, path, header + text, kit.host)


def named(text: str, names: Mapping[str, str]) -> str:
    """Return the text with the names of this pull request."""
    for word, name in names.items():
        text = text.replace(word, name)
    return text


def licence(clone: Path, host: Host) -> str:
    """Return the comment at the head of the clone's own files, with the blank line after it."""
    header = []
    for line in read(clone, host.licence_of, host).splitlines(keepends=True):
        if line.strip() and not line.startswith("#"):
            break
        header.append(line)
    text = "".join(header)
    if "Permission is hereby granted" not in text:
        raise UserError(f"{clone / host.licence_of} has no licence header; the kit knows "
                        f"{host.known}")  # fmt: skip
    return text


def recipes(clone: Path, kit: Kit) -> Iterator[Change]:
    """Yield new files that are the clone's own but for a few lines."""
    for path, (source, lines) in kit.recipes.items():
        text = read(clone, source, kit.host)
        for old, new in lines.items():
            text = substituted(text, Edit(source, re.escape(old), new, new), clone, kit.host)
        yield change(clone, path, text, kit.host)


def edited_files(clone: Path, kit: Kit) -> Iterator[Change]:
    """Yield the clone's own files with our edits; edits that are made already change nothing."""
    texts = {edit.path: read(clone, edit.path, kit.host) for edit in kit.edits}
    after = dict(texts)
    for edit in kit.edits:
        after[edit.path] = edited(after[edit.path], edit, clone, kit.host)
    for path, text in texts.items():
        yield Change(path, text, after[path])


def edited(text: str, edit: Edit, clone: Path, host: Host) -> str:
    """Return the text with an edit, unless it has been made already."""
    made = text.count(edit.done) == edit.times
    return text if made else substituted(text, edit, clone, host)


def substituted(text: str, edit: Edit, clone: Path, host: Host) -> str:
    """Make an edit, which must have exactly as many places as it names."""
    result, found = re.subn(edit.old, edit.new, text, flags=re.MULTILINE)
    if found != edit.times:
        raise UserError(
            f"{clone / edit.path} has {edit.old!r} {found} times, not {edit.times}: it differs "
            f"from what this kit knows, {host.known}"
        )
    return result
