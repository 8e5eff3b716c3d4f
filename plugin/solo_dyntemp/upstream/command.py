"""`dyntemp upstream-pr CLONE [--dry-run]`: the methods as a branch of a solo-learn clone."""

from __future__ import annotations

import argparse
import difflib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from solo_dyntemp.upstream.changes import Change, planned_changes
from solo_registry.console import terminal
from solo_registry.errors import UserError
from solo_registry.runs.run_folder import atomic_write

BRANCH = "simclr-dyntemp"
MESSAGE = """Add SimCLR and MoCo V2+ with dynamic temperature (DySTreSS)

The temperature of the contrastive loss is a function of each pair's cosine similarity
(https://arxiv.org/abs/2308.01140). With tau_min = tau_max the losses are the existing ones.
"""


def run(words: Sequence[str]) -> None:
    """Write, commit and describe the pull request, or with --dry-run show it.

    Args:
        words: path of the clone and flags.

    Raises:
        UserError: no clean clone of the solo-learn we know; nothing is written then.
    """
    parser = argparse.ArgumentParser(
        prog="dyntemp upstream-pr",
        description="Write SimCLR and MoCo V2+ with dynamic temperature into a clean clone of "
        f"solo-learn 1.0.6, on a branch '{BRANCH}', with tests, recipes and documentation as its "
        "CONTRIBUTING asks. It commits if git knows who you are, else the files stay staged. "
        "It pushes nothing.",
    )
    parser.add_argument("clone", type=Path, help="folder of the clone")
    parser.add_argument("--dry-run", action="store_true", help="show the changes, write nothing")
    given = parser.parse_args(words)
    clone = Path(git(given.clone, "rev-parse", "--show-toplevel").strip())
    changes = planned_changes(clone)
    console = terminal()
    if not changes or on_branch(clone, changes):
        where = "the clone" if not changes else f"its branch {BRANCH}"
        console.print(f"nothing to do: {where} has all changes already", soft_wrap=True)
        return
    refuse_unclean(clone)
    if given.dry_run:
        for change in changes:
            console.print(difference(change), soft_wrap=True, highlight=False, markup=False)
        console.print(f"{len(changes)} files on branch {BRANCH}; nothing is written (--dry-run)")
    else:
        done = write(clone, changes)
        description = write_description(clone)
        console.print(f"{len(changes)} files {done} on branch {BRANCH} of {clone}", soft_wrap=True)
        console.print(
            "\n".join(
                (
                    "Next, in the clone:",
                    "  python -m pytest tests/losses tests/methods tests/args",
                    f"  git push YOUR_FORK {BRANCH}",
                    f"Then open the pull request with the text of {description}. It says that the "
                    "accuracy runs which CONTRIBUTING asks for are still to be added.",
                )
            ),
            soft_wrap=True,
            highlight=False,
        )


def git(clone: Path, *words: str, check: bool = True) -> str:
    """Run git in the clone and return what it prints.

    Raises:
        UserError: git fails, unless `check` is false.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(clone), *words], capture_output=True, text=True, check=check
        )
    except FileNotFoundError as error:
        raise UserError("git is not installed") from error
    except subprocess.CalledProcessError as error:
        reason = " ".join((error.stderr or error.stdout).split())
        raise UserError(f"git {words[0]} failed in {clone}: {reason}") from error
    return done.stdout


def on_branch(clone: Path, changes: Sequence[Change]) -> bool:
    """Whether our branch has all changes already, although another branch is checked out.

    Raises:
        UserError: the branch exists, but with other contents.
    """
    if not git(clone, "branch", "--list", BRANCH):
        return False
    if all(
        git(clone, "show", f"{BRANCH}:{change.path}", check=False) == change.after
        for change in changes
    ):
        return True
    raise UserError(
        f"{clone} already has a branch {BRANCH} with other contents; rename or delete it "
        f"(git branch -m {BRANCH} {BRANCH}-old)"
    )


def refuse_unclean(clone: Path) -> None:
    """Raise UserError if the clone has changes or files that are not committed."""
    if changed := git(clone, "status", "--porcelain").splitlines():
        raise UserError(
            f"{clone} is not clean: {', '.join(line[3:] for line in changed[:5])}"
            f"{' ...' if len(changed) > 5 else ''}. Commit or stash first"
        )


def difference(change: Change) -> str:
    """Return the change as a unified diff."""
    before = (change.before or "").splitlines()
    name = change.path if change.before is not None else "/dev/null"
    return "\n".join(
        difflib.unified_diff(before, change.after.splitlines(), name, change.path, lineterm="")
    )


def write(clone: Path, changes: Sequence[Change]) -> str:
    """Write the files on a new branch; return whether they are "committed" or "staged".

    A commit needs a name and an address. If the user has not set them, the files are only staged.
    """
    git(clone, "switch", "--create", BRANCH)
    for change in changes:
        with atomic_write(clone / change.path) as part:
            part.write_text(change.after, encoding="utf-8", newline="\n")
    git(clone, "add", "--", *(change.path for change in changes))
    if not all(git(clone, "config", key, check=False) for key in ("user.name", "user.email")):
        return "staged (git has no user.name and user.email, so nothing is committed)"
    git(clone, "commit", "--message", MESSAGE)
    return "committed"


def write_description(clone: Path) -> Path:
    """Write the pull request's text beside the clone, not into it; return its path."""
    path = clone.with_name(f"{clone.name}-{BRANCH}-pr.md")
    text = Path(__file__).with_name("pull_request.md").read_text(encoding="utf-8")
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    terminal().print(text, soft_wrap=True, highlight=False, markup=False)
    return path
