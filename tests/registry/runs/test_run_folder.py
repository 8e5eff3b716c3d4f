from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.forked import run_forked

from solo_registry.errors import UserError
from solo_registry.runs.run_folder import (
    SCHEMA_VERSION,
    RunFolder,
    atomic_folder,
    atomic_write,
    cannot_write,
    remove_parts,
    write_json,
)
from solo_registry.training.callbacks import WholeCheckpointIO


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(KeyError), atomic_write(path) as part:
        part.write_text("half")
        raise KeyError
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.distributed
def test_a_disk_without_room_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A limit on file size makes the real write fail half-way, as a full disk does."""
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"epoch": 1}, path)
    program = f"""
import resource, signal, torch
from solo_registry.errors import UserError
from solo_registry.training.callbacks import WholeCheckpointIO
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    WholeCheckpointIO().save_checkpoint({{"w": torch.zeros(1_000_000)}}, {str(path)!r})
except UserError as error:
    print("refused:", error)
"""
    script = tmp_path.with_name("fill_the_disk.py")
    script.write_text(program)
    done = run_forked(script)
    assert "refused: no space on the disk" in done.stdout and str(path) in done.stdout, done.stderr
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def by_open(path: Path) -> None:
    path.write_text("x")


def by_safetensors(path: Path) -> None:
    save_file({"w": torch.zeros(2)}, path)


def by_a_program_of_its_own_mind(path: Path) -> None:
    path.write_text("x")
    path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
@pytest.mark.parametrize("write", [by_open, by_safetensors, by_a_program_of_its_own_mind])
def test_a_file_has_the_permissions_of_any_new_file(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    for mask in (0o022, 0o002, 0o077):
        path = tmp_path / oct(mask)
        before = os.umask(mask)
        try:
            with atomic_write(path) as part:
                assert not part.exists()
                write(part)
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    with atomic_write(path) as part:
        write(part)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["0o2", "0o22", "0o77"]


def test_messages_name_the_cause_and_the_way_out(tmp_path: Path) -> None:
    assert "no space on the disk" in cannot_write(tmp_path, OSError(errno.ENOSPC, "full"))
    assert "runs_dir=PATH" in cannot_write(tmp_path, PermissionError(errno.EACCES, "denied"))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "runs" / "result.json", {})


def test_foreign_results_are_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.read_result() is None
    run.result.write_text('{"schema_version": 99}')
    with pytest.raises(UserError, match=f"schema version 99, this version reads {SCHEMA_VERSION}"):
        run.read_result()
    run.result.write_text('{"schema_ver')
    with pytest.raises(UserError, match="is not a run's result"):
        run.read_result()
    run.result.write_text(f'{{"schema_version": {SCHEMA_VERSION}}}')
    with pytest.raises(UserError, match="is not a run's result: 'evaluation'"):
        run.read_result()
    with pytest.raises(UserError, match="is no run folder"):
        run.read_config()
    (tmp_path / "resolved.yaml").write_text("method: [simclr")
    with pytest.raises(UserError, match=r"resolved\.yaml is damaged"):
        run.read_config()


def test_a_folder_appears_whole_and_in_one_that_exists_the_card_comes_last(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("one", "two"):
        with pytest.raises(KeyError), atomic_folder(out, last="card") as part:
            (part / "card").write_text("half")
            raise KeyError
        with atomic_folder(out, last="card") as part:
            assert not (out / "card").exists() or (out / "card").read_text() == "one"
            for name in ("card", "weights"):
                (part / name).write_text(text)
        (out / "mine").write_text("a file of the user's")
        assert {path.read_text() for path in out.iterdir()} == {text, "a file of the user's"}
    assert os.listdir(tmp_path) == ["out"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), atomic_folder(tmp_path / "file/out", "x"):
        pass


def test_what_killed_writes_have_left_is_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    left = [".result.json.12.part", "checkpoints/.last.ckpt.3.part", "plots/.a.png.4.part"]
    kept = ["result.json", "evaluations/.linear.json.5.part", ".mine.part", "checkpoints/last.ckpt"]
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".timm.7.part").mkdir()
    run.remove_parts()
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*kept} and not (tmp_path / ".timm.7.part").exists()
    remove_parts(tmp_path / "evaluations", "finetune.json")  # another's
    assert (tmp_path / "evaluations/.linear.json.5.part").exists()
