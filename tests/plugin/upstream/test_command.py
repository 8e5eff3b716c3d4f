"""The pull-request kit on repositories that have of a host just what it looks at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.plugin.upstream.clones import LICENCE, committed, everything, fill, git, setup

from solo_dyntemp.upstream import lightly, solo_learn
from solo_dyntemp.upstream.changes import Kit, planned_changes
from solo_dyntemp.upstream.command import run
from solo_dyntemp.upstream.description import description

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
KITS = [*solo_learn.kits(), *lightly.kits()]
SIMCLR = next(kit for kit in KITS if kit.feature == "simclr")
Capture = pytest.CaptureFixture[str]


def name(kit: Kit) -> str:
    return f"{kit.host.name}-{kit.feature}"


def joined(capsys: Capture) -> str:
    """What was printed, as one line."""
    return " ".join(capsys.readouterr().out.split())


def words(clone: Path, kit: Kit, *flags: str) -> list[str]:
    return [str(clone), "--to", kit.host.name, "--feature", kit.feature, *flags]


@pytest.fixture
def kit(request: pytest.FixtureRequest) -> Kit:
    """The pull request of the test; SimCLR where the test has no list."""
    chosen: Kit = getattr(request, "param", SIMCLR)
    return chosen


@pytest.fixture
def clone(tmp_path: Path, kit: Kit) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    fill(folder, kit)
    return committed(folder)


every_kit = pytest.mark.parametrize("kit", KITS, ids=name, indirect=True)


@every_kit
def test_it_commits_on_a_branch_and_again_changes_nothing(
    clone: Path, kit: Kit, capsys: Capture
) -> None:
    run(words(clone, kit))
    assert git(clone, "branch", "--show-current").strip() == kit.branch
    assert git(clone, "log", "-1", "--format=%an %s").strip() == f"A User {kit.title}"
    assert not git(clone, "status", "--porcelain")
    changed = set(git(clone, "diff", "--name-only", "main").split())
    assert changed == {*kit.new_files, *kit.recipes, *(edit.path for edit in kit.edits)}
    text = (clone.parent / f"clone-{kit.branch}-pr.md").read_text()
    assert text in capsys.readouterr().out
    stat = git(clone, "diff", "--shortstat", "main")
    assert sum(map(int, re.findall(r"(\d+) (?:ins|del)", stat))) == int(
        re.search(r"Size: (\d+) changed", text)[1]  # type: ignore[index]
    )

    after = everything(clone)
    run(words(clone, kit))
    assert "nothing to do: the clone has all changes" in capsys.readouterr().out
    assert everything(clone) == after
    git(clone, "switch", "--quiet", "main")
    before = everything(clone)
    run(words(clone, kit))
    assert f"its branch {kit.branch} has all changes" in capsys.readouterr().out.replace("\n", " ")
    assert everything(clone) == before


@every_kit
def test_what_it_writes_imports_nothing_of_ours(clone: Path, kit: Kit) -> None:
    changes = planned_changes(clone, kit)
    assert not [change.path for change in changes if "solo_dyntemp" in change.after]
    new = [change.after for change in changes if change.before is None and change.path[-2:] == "py"]
    assert all(text.startswith(LICENCE) for text in new)
    left = re.compile(r"\b(FORMULA|TAU_MIN|TAU_MAX|PAPER|RST_TITLE|NAME|CLASS|TITLE)")
    assert not [found for change in changes if (found := left.search(change.after))]


@every_kit
def test_a_dry_run_and_the_text_write_nothing(clone: Path, kit: Kit, capsys: Capture) -> None:
    before = everything(clone)
    run(words(clone, kit, "--dry-run"))
    out = capsys.readouterr().out
    assert "+++ " in out and "dynamic_temperature" in out and "(--dry-run)" in out
    run(words(clone, kit, "--text"))
    assert capsys.readouterr().out.startswith(f"# {kit.title}\n")
    assert everything(clone) == before and not list(clone.parent.glob("*pr.md"))


def test_the_recipe_is_the_clones_own_with_two_temperatures(clone: Path, kit: Kit) -> None:
    (recipe,) = (c for c in planned_changes(clone, kit) if c.path in kit.recipes)
    assert recipe.after.splitlines()[1:] == [
        'method: "simclr_dyntemp"', "  tau_min: 0.1", "  tau_max: 0.2",
    ]  # fmt: skip


def test_without_a_git_identity_the_files_are_staged(
    clone: Path, kit: Kit, own_git_config: Path, capsys: Capture
) -> None:
    own_git_config.write_text("")
    run(words(clone, kit))
    assert "staged (git has no user.name" in capsys.readouterr().out
    assert all(line[0] in "AM" for line in git(clone, "status", "--porcelain").splitlines())
    after = everything(clone)
    run(words(clone, kit))
    assert "all changes already, but not all is committed (git commit)" in joined(capsys)
    assert everything(clone) == after


def test_where_git_refuses_the_commit_the_files_are_staged(
    clone: Path, kit: Kit, capsys: Capture
) -> None:
    hook = clone / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no commits here'; exit 1\n")
    hook.chmod(0o755)
    run(words(clone, kit))
    assert "staged, not committed (git commit failed" in joined(capsys)
    assert all(line[0] in "AM" for line in git(clone, "status", "--porcelain").splitlines())
    assert (clone.parent / f"clone-{kit.branch}-pr.md").exists()


def test_a_newer_version_is_tried_and_reported(clone: Path, kit: Kit, capsys: Capture) -> None:
    (clone / "setup.py").write_text(setup("1.1.0"))
    git(clone, "commit", "--quiet", "--all", "--message", "newer")
    run(words(clone, kit))
    out = capsys.readouterr().out
    assert "note: this is solo-learn 1.1.0 at" in out
    assert "tested on 1.0.6 at 9187ea3. Every place to change was found" in out
    assert git(clone, "branch", "--show-current").strip() == kit.branch


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("new.txt", "x", r"is not clean: new\.txt\. Commit or stash"),
        ("setup.py", setup("1.0.2"), "1.0.2, which is older than the main of"),
        ("setup.py", setup("1.x-of-mine"), r"an old solo-learn: setup\.py does not state"),
        # another program's
        ("setup.py", 'name="x", version="1.0.2"\n', r"is another program or an old solo-learn"),
        ("README.md", "other\n", r"README\.md has .* 0 times, not 1"),
        ("docs/source/index.rst", None, r"no clone of solo-learn: docs/source/index\.rst"),
        ("solo/losses/simclr.py", "import torch\n", "has no licence header"),
        ("scripts/pretrain/cifar/simclr.yaml", "method: x\n", "times, not 1"),
    ],
)
def test_another_clone_is_refused_and_stays_as_it_is(
    clone: Path, kit: Kit, path: str, text: str | None, reason: str
) -> None:
    if text is None:
        (clone / path).unlink()
    else:
        (clone / path).write_text(text)
    if path != "new.txt":
        git(clone, "commit", "--quiet", "--all", "--message", "other")
    before = everything(clone)
    with pytest.raises(ValueError, match=reason):
        run(words(clone, kit))
    assert everything(clone) == before


def in_a_path_with_spaces(clone: Path) -> Path:
    return clone.rename(clone.with_name("my clones of 2026"))


def on_a_branch_without_own_commits(clone: Path) -> Path:
    git(clone, "switch", "--quiet", "--create", "other")
    return clone


def detached(clone: Path) -> Path:
    git(clone, "switch", "--quiet", "--detach")
    return clone


def with_a_newer_commit(clone: Path) -> Path:
    (clone / "new.txt").write_text("x")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "newer")
    return clone


def shallow(clone: Path) -> Path:
    other = with_a_newer_commit(clone).with_name("shallow")
    git(clone, "clone", "--quiet", "--depth", "1", clone.as_uri(), str(other))
    git(other, "switch", "--quiet", "--detach")
    git(other, "branch", "--quiet", "--delete", "main")  # what is left is origin/main
    return other


def from_a_branch_of_upstream(clone: Path) -> Path:
    fork = clone.with_name("fork")
    git(clone, "clone", "--quiet", str(clone), str(fork))
    with_a_newer_commit(clone)
    git(fork, "remote", "add", "upstream", str(clone))
    git(fork, "fetch", "--quiet", "upstream")
    git(fork, "switch", "--quiet", "--create", "mine", "upstream/main")
    return fork


@pytest.mark.parametrize(
    "change",
    [in_a_path_with_spaces, on_a_branch_without_own_commits, detached, with_a_newer_commit, shallow,
     from_a_branch_of_upstream],
)  # fmt: skip
def test_a_clone_in_another_state_works(
    clone: Path, kit: Kit, change: Callable[[Path], Path], capsys: Capture
) -> None:
    clone = change(clone)
    start = git(clone, "rev-parse", "HEAD")
    run(words(clone, kit))
    assert git(clone, "branch", "--show-current").strip() == kit.branch
    assert git(clone, "rev-parse", "HEAD~") == start and not git(clone, "status", "--porcelain")
    assert clone.with_name(f"{clone.name}-{kit.branch}-pr.md").exists()
    after = everything(clone)
    run(words(clone, kit))
    assert "nothing to do" in capsys.readouterr().out and everything(clone) == after


@pytest.mark.parametrize(("flags", "here"), [(["--create", "my-work"], "my-work"),
                                             (["--detach"], "a detached HEAD")])  # fmt: skip
def test_commits_that_are_not_on_main_are_kept_out_of_the_pull_request(
    clone: Path, kit: Kit, flags: list[str], here: str
) -> None:
    git(clone, "switch", "--quiet", *flags)
    with_a_newer_commit(clone)
    before = everything(clone)
    for more in ((), ("--dry-run",)):
        with pytest.raises(ValueError, match=rf"is on {here}, with 1 commit that main does not"):
            run(words(clone, kit, *more))
    assert everything(clone) == before
    git(clone, "switch", "--quiet", "--detach", "main")  # as the message says
    run(words(clone, kit))


def test_two_features_in_a_row_do_not_become_one_pull_request(clone: Path, kit: Kit) -> None:
    run(words(clone, kit))
    before = everything(clone)
    small = next(other for other in KITS if other.feature == "temperature")
    with pytest.raises(ValueError, match=f"is on {kit.branch}, with 1 commit that main does not"):
        run(words(clone, small))
    assert everything(clone) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("simclr-dyntemp", "has a branch simclr-dyntemp with other"),
        ("simclr-dyntemp/more", "git sw"),
    ],
)
def test_a_branch_of_the_name_with_other_contents_is_kept(
    clone: Path, kit: Kit, name: str, reason: str
) -> None:
    git(clone, "branch", name)
    before = everything(clone)
    with pytest.raises(ValueError, match=reason):
        run(words(clone, kit))
    assert everything(clone) == before and not list(clone.parent.glob("*pr.md"))


def test_a_text_that_somebody_filled_in_is_kept(clone: Path, kit: Kit) -> None:
    text = clone.with_name(f"clone-{kit.branch}-pr.md")
    text.write_text("93.1")
    before = everything(clone)
    with pytest.raises(ValueError, match=r"-pr\.md exists with other contents; rename or delete"):
        run(words(clone, kit))
    assert everything(clone) == before and text.read_text() == "93.1"


def test_where_the_text_cannot_be_written_the_clone_stays_as_it_is(
    clone: Path, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touch(path: Path, *_: Any, **__: Any) -> None:  # a test may run as root, who may write
        raise PermissionError(13, "Permission denied", str(path))

    before = everything(clone)
    monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(ValueError, match="clone-simclr-dyntemp-pr"):
        run(words(clone, kit))
    assert everything(clone) == before


def test_what_is_no_repository_or_no_pull_request_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="git rev-parse failed in"):
        run([str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match=r"'lightley'\. Did you mean 'lightly'"):
        run([str(tmp_path), "--to", "lightley"])
    with pytest.raises(ValueError, match=r"temperature, simclr, mocov2plus, not 'simclrr'"):
        run([str(tmp_path), "--feature", "simclrr"])


@every_kit
def test_the_text_has_our_published_numbers_and_names_what_is_not_run(kit: Kit) -> None:
    text = description(kit, [])
    published = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*±.*$", text, flags=re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        _, fixed, ours, difference, p, verdict = (
            cell.strip() for cell in row.strip("|").split("|")
        )
        mean, low, high = re.match(r"(.*) \(([\d.]+) to ([\d.]+)\)", ours).groups()  # type: ignore[union-attr]
        cells = [verdict, mean, difference, p, f"tau_min={low} tau_max={high}"]
        line = r"\| cosine[a-z_ =]* \| {} \| {} \| {} \| [^|]* \| {} \| {} \|"
        assert re.search(line.format(*map(re.escape, cells)), published), row
        assert f"| fixed | reference | {fixed} |" in published
    assert "not run" in text and "wins nowhere" in text
    for data in ("cifar10", "cifar100"):
        assert f"dyntemp leaderboard run suite=upstream data={data} " in text
