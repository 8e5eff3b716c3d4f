"""Computes the changes of the pull request, file by file; this module writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from solo_registry.errors import UserError

NEW_FILES = Path(__file__).with_name("templates")  # with the paths that they get in the clone
PAPER = "https://arxiv.org/abs/2308.01140"
KNOWN = "the main of https://github.com/vturrisi/solo-learn at version 1.0.6"

# file of the clone -> {a line of it: our line, which is inserted after it}
INSERTIONS: dict[str, dict[str, str]] = {
    "solo/losses/__init__.py": {
        "from solo.losses.mocov2plus import mocov2plus_loss_func": (
            "from solo.losses.mocov2plus_dyntemp import mocov2plus_dyntemp_loss_func"
        ),
        "from solo.losses.simclr import simclr_loss_func": (
            "from solo.losses.simclr_dyntemp import simclr_dyntemp_loss_func"
        ),
        '    "mocov2plus_loss_func",': '    "mocov2plus_dyntemp_loss_func",',
        '    "simclr_loss_func",': '    "simclr_dyntemp_loss_func",',
    },
    "solo/methods/__init__.py": {
        "from solo.methods.mocov2plus import MoCoV2Plus": (
            "from solo.methods.mocov2plus_dyntemp import MoCoV2PlusDynTemp"
        ),
        "from solo.methods.simclr import SimCLR": (
            "from solo.methods.simclr_dyntemp import SimCLRDynTemp"
        ),
        '    "mocov2plus": MoCoV2Plus,': '    "mocov2plus_dyntemp": MoCoV2PlusDynTemp,',
        '    "simclr": SimCLR,': '    "simclr_dyntemp": SimCLRDynTemp,',
        '    "MoCoV2Plus",': '    "MoCoV2PlusDynTemp",',
        '    "SimCLR",': '    "SimCLRDynTemp",',
    },
    "README.md": {
        "* [SimCLR](https://arxiv.org/abs/2002.05709)": (
            f"* [SimCLR and MoCo V2+ with dynamic temperature (DySTreSS)]({PAPER})"
        ),
    },
    "docs/source/index.rst": {
        "   solo/methods/mocov2plus": "   solo/methods/mocov2plus_dyntemp",
        "   solo/methods/simclr": "   solo/methods/simclr_dyntemp",
        "   solo/losses/mocov2plus": "   solo/losses/mocov2plus_dyntemp",
        "   solo/losses/simclr": "   solo/losses/simclr_dyntemp",
    },
    "docs/source/start/available.rst": {
        "* `SimCLR <https://arxiv.org/abs/2002.05709>`_ + "
        "`Supervised Contrastive Learning <https://arxiv.org/abs/2004.11362>`_": (
            f"* `SimCLR and MoCo-V2 with dynamic temperature (DySTreSS) <{PAPER}>`_"
        ),
    },
}
# the clone's recipes that ours are made from: (folder, method)
RECIPES = [
    (f"scripts/pretrain/{folder}", method)
    for folder in ("cifar", "imagenet-100")
    for method in ("simclr", "mocov2plus")
]
TAUS = "  tau_min: 0.1\n  tau_max: 0.2\n"


@dataclass(frozen=True)
class Change:
    """A change of a file in the clone: path, text before (None for a new file) and text after."""

    path: str
    before: str | None
    after: str


def planned_changes(clone: Path) -> list[Change]:
    """Return the changes that `clone` does not have yet; empty if it has all of them.

    Raises:
        UserError: the clone is not the solo-learn we know.
    """
    if 'version="1.0.6"' not in read(clone, "setup.py"):
        raise UserError(f"{clone} is another version of solo-learn; this kit knows {KNOWN}")
    changes = [*new_files(clone), *recipes(clone), *insertions(clone)]
    return [change for change in changes if change.before != change.after]


def read(clone: Path, path: str) -> str:
    """Return the text of a file that solo-learn has."""
    try:
        return (clone / path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{clone} is no clone of solo-learn: {path} cannot be read. The kit knows {KNOWN}"
        ) from error


def change(clone: Path, path: str, after: str) -> Change:
    """Return the change of a file that may exist already."""
    return Change(path, read(clone, path) if (clone / path).exists() else None, after)


def new_files(clone: Path) -> Iterator[Change]:
    """Yield the new files. Python files get the clone's licence header; others are unchanged."""
    header = licence(clone)
    for file in sorted(NEW_FILES.rglob("*.*")):
        if file.suffix in (".py", ".rst"):
            path = file.relative_to(NEW_FILES).as_posix()
            text = file.read_text(encoding="utf-8")
            yield change(clone, path, header + text if file.suffix == ".py" else text)


def licence(clone: Path) -> str:
    """Return the comment at the head of the clone's own files, with the blank line after it."""
    source = "solo/losses/simclr.py"
    header = []
    for line in read(clone, source).splitlines(keepends=True):
        if line.strip() and not line.startswith("#"):
            break
        header.append(line)
    text = "".join(header)
    if "Permission is hereby granted" not in text:
        raise UserError(f"{clone / source} has no licence header; the kit knows {KNOWN}")
    return text


def recipes(clone: Path) -> Iterator[Change]:
    """Yield our recipes: the clone's own with another method and two temperatures, else equal."""
    for folder, method in RECIPES:
        text = read(clone, f"{folder}/{method}.yaml")
        for old, new in (
            (f'name: "{method}-', f'name: "{method}_dyntemp-'),
            (f'method: "{method}"\n', f'method: "{method}_dyntemp"\n'),
            ("  temperature: 0.2\n", TAUS),
        ):
            text = replace_once(text, old, new, clone / folder / f"{method}.yaml")
        yield change(clone, f"{folder}/{method}_dyntemp.yaml", text)


def replace_once(text: str, old: str, new: str, where: Path) -> str:
    """Replace the only occurrence of `old`."""
    if (found := text.count(old)) != 1:
        raise UserError(
            f"{where} has {old.strip()!r} {found} times, not once: it is not the solo-learn this "
            f"kit knows, {KNOWN}"
        )
    return text.replace(old, new)


def insertions(clone: Path) -> Iterator[Change]:
    """Yield the files with our lines inserted after theirs; skip lines that are there already."""
    for path, lines in INSERTIONS.items():
        before = after = read(clone, path)
        for anchor, ours in lines.items():
            both = f"\n{anchor}\n{ours}\n"
            if both not in after:
                after = replace_once(after, f"\n{anchor}\n", both, clone / path)
        yield Change(path, before, after)
