from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from solo_registry.errors import UserError
from solo_registry.training.callbacks import WholeCheckpointIO
from solo_registry.training.run_folder import (
    SCHEMA_VERSION,
    RunFolder,
    cannot_write,
    whole_file,
    write_json,
)


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    with pytest.raises(KeyError), whole_file(path) as part:
        part.write_text("half")
        raise KeyError
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["result.json"]


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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "refused: no room on the disk" in done.stdout and str(path) in done.stdout, done.stderr
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_messages_name_the_cause_and_the_way_out(tmp_path: Path) -> None:
    assert "no room on the disk" in cannot_write(tmp_path, OSError(errno.ENOSPC, "full"))
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
