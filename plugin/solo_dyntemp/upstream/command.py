"""`dyntemp upstream-pr CLONE --to HOST --feature F`: a pull request as a branch of a clone."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

from solo_dyntemp.upstream import lightly, solo_learn
from solo_dyntemp.upstream.changes import Change, Kit, check_version, planned_changes
from solo_dyntemp.upstream.description import description
from solo_registry.console import terminal
from solo_registry.errors import UserError, nearest
from solo_registry.runs.run_folder import atomic_write, write_text

HOSTS = {solo_learn.HOST.name: solo_learn.kits, lightly.HOST.name: lightly.kits}


def run(words: Sequence[str]) -> None:
    """Write, commit and describe a pull request, or with --dry-run show it.

    Args:
        words: path of the clone and flags.

    Raises:
        UserError: no clean clone of the host, one with commits that its main branch lacks, or one
            that differs in a place that the pull request changes; nothing is written then.
    """
    given = arguments().parse_args(words)
    kit = chosen(given.to, given.feature)
    clone = Path(git(given.clone, "rev-parse", "--show-toplevel").strip())
    check_version(clone, kit.host)
    if not given.text:
        refuse_other_commits(clone, kit)
    changes = planned_changes(clone, kit)
    text = description(kit, changes)
    if given.text:
        show(text)
        return
    if not changes or on_branch(clone, kit, changes):
        where = "the clone" if not changes else f"its branch {kit.branch}"
        pending = not changes and git(clone, "status", "--porcelain")
        hint = ", but not all is committed (git commit)" if pending else ""
        show(f"nothing to do: {where} has all changes already{hint}")
        return
    refuse_unclean(clone)
    path = clone.with_name(f"{clone.name}-{kit.branch}-pr.md")
    refuse_other_text(path, text)
    report_version(clone, kit)
    size = f"{sum(change.size() for change in changes)} lines in {len(changes)} files"
    if given.dry_run:
        for change in changes:
            show("\n".join(change.difference()))
        show(f"{size} on branch {kit.branch}; nothing is written (--dry-run)")
        return
    with atomic_write(path) as part:  # where it cannot be written, there is no branch either
        part.write_bytes(text.encode())
        done = write(clone, kit, changes)
    show(text)
    show(
        f"{size} {done} on branch {kit.branch} of {clone}\n"
        "Next, in the clone:\n"
        f"  python -m pytest {kit.tests}\n"
        f"  git push YOUR_FORK {kit.branch}\n"
        f"Then open the pull request with the text of {path}. Its table of accuracies is empty: "
        "run the commands below the table, or say that you could not."
    )


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    features = "; ".join(
        f"{name}: {', '.join(kit.feature for kit in kits())}" for name, kits in HOSTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="dyntemp upstream-pr",
        description="Write a pull request for dynamic temperature into a clean clone, on a branch "
        "of its own: code, tests and documentation in the style of the clone. It commits if git "
        "knows who you are, else the files stay staged. It pushes nothing.",
    )
    parser.add_argument("clone", type=Path, help="folder of the clone")
    parser.add_argument("--to", default="solo-learn", help=", ".join(HOSTS))
    parser.add_argument("--feature", default="temperature", help=features)
    parser.add_argument("--dry-run", action="store_true", help="show the changes, write nothing")
    parser.add_argument("--text", action="store_true", help="print the text, write nothing")
    return parser


def chosen(host: str, feature: str) -> Kit:
    """Return the pull request of these names.

    Raises:
        UserError: there is none.
    """
    if host not in HOSTS:
        raise UserError(
            f"--to must be one of {', '.join(HOSTS)}, got '{host}'.{nearest(host, HOSTS)}"
        )
    kits = {kit.feature: kit for kit in HOSTS[host]()}
    if feature not in kits:
        raise UserError(
            f"--to {host} has the features {', '.join(kits)}, not '{feature}'."
            f"{nearest(feature, kits)}"
        )
    return kits[feature]


def show(text: str) -> None:
    """Print a text as it is."""
    terminal().print(text, soft_wrap=True, highlight=False, markup=False)


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


def on_branch(clone: Path, kit: Kit, changes: Sequence[Change]) -> bool:
    """Whether our branch has all changes already, although another branch is checked out.

    Raises:
        UserError: the branch exists, but with other contents.
    """
    if not git(clone, "branch", "--list", kit.branch):
        return False
    if all(
        git(clone, "show", f"{kit.branch}:{change.path}", check=False) == change.after
        for change in changes
    ):
        return True
    raise UserError(
        f"{clone} already has a branch {kit.branch} with other contents; rename or delete it "
        f"(git branch -m {kit.branch} {kit.branch}-old)"
    )


def refuse_unclean(clone: Path) -> None:
    """Raise UserError if the clone has changes or files that are not committed."""
    if changed := git(clone, "status", "--porcelain").splitlines():
        raise UserError(
            f"{clone} is not clean: {', '.join(line[3:] for line in changed[:5])}"
            f"{' ...' if len(changed) > 5 else ''}. Commit or stash first"
        )


def refuse_other_commits(clone: Path, kit: Kit) -> None:
    """Raise UserError if a branch from here would hold commits that no main branch has."""
    here = git(clone, "branch", "--show-current").strip()
    if here == kit.branch:
        return
    names = ("heads/main", "heads/master", "remotes/*/main", "remotes/*/master", "remotes/*/HEAD")
    found = git(clone, "for-each-ref", "--format=%(refname)", *(f"refs/{name}" for name in names))
    mains = sorted(found.split(), key=lambda ref: ref.endswith("/HEAD"))
    count = int(git(clone, "rev-list", "--count", "HEAD", "--not", *mains)) if mains else 0
    if count:
        main, many = mains[0].split("/", 2)[2], "commits" if count > 1 else "commit"
        raise UserError(
            f"{clone} is on {here or 'a detached HEAD'}, with {count} {many} that {main} does not "
            "have. The pull request would contain them too. Check out the main branch first "
            f"(git switch --detach {main})"
        )


def refuse_other_text(path: Path, text: str) -> None:
    """Raise UserError if the text of the pull request would replace one that somebody changed."""
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise UserError(f"{path} exists with other contents; rename or delete it")


def report_version(clone: Path, kit: Kit) -> None:
    """Say if the clone is another version or commit than the one that the kit was tested on."""
    version, commit = check_version(clone, kit.host), git(clone, "rev-parse", "HEAD").strip()
    if version != kit.host.version or not commit.startswith(kit.host.commit):
        show(
            f"note: this is {kit.host.name} {version} at {commit[:7]}; the kit was tested on "
            f"{kit.host.version} at {kit.host.commit}. Every place to change was found. Run the "
            "clone's tests before you push."
        )


def write(clone: Path, kit: Kit, changes: Sequence[Change]) -> str:
    """Write the files on a new branch; return whether they are "committed" or "staged".

    A commit needs a name and an address. If the user has not set them, or git refuses the commit
    (a hook, a missing key), the files are only staged.
    """
    git(clone, "switch", "--create", kit.branch)
    for change in changes:
        write_text(clone / change.path, change.after)
    git(clone, "add", "--", *(change.path for change in changes))
    if not all(git(clone, "config", key, check=False) for key in ("user.name", "user.email")):
        return "staged (git has no user.name and user.email, so nothing is committed)"
    try:
        git(clone, "commit", "--message", f"{kit.title}\n{kit.message}")
    except UserError as error:
        return f"staged, not committed ({error})"
    return "committed"
