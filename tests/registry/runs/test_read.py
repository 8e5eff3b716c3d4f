"""A changed byte is noticed where a file of a run is read."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from solo_registry.errors import UserError
from solo_registry.evaluation.verdict import last_loss
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.read import json_text, read_signed, read_yaml, sealed, signed
from solo_registry.runs.records import read_record
from solo_registry.runs.run_folder import RunFolder, write_json

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "5" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    state = {"w": torch.arange(5000.0)}
    torch.save({"epoch": 0, "global_step": 1, "state_dict": state, "loops": {}, "run": "a/5"}, path)
    return path


@contextmanager
def without_permission(path: Path) -> Iterator[None]:
    """Take away the permission to read; of root, to whom it means nothing, the name of root."""
    path.chmod(0)
    before = os.geteuid()
    try:
        if before == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(before)
        path.chmod(0o600)


def test_a_flipped_bit_of_a_checkpoint_is_noticed_or_changes_nothing(checkpoint: Path) -> None:
    good, whole = read_checkpoint(checkpoint, "a/5"), checkpoint.read_bytes()
    draw, noticed = random.Random(0), 0
    for _ in range(60):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        checkpoint.write_bytes(data)
        try:
            found = read_checkpoint(checkpoint, "a/5")
        except UserError as error:
            assert f"{checkpoint} is damaged" in str(error)
            noticed += 1
        else:
            assert torch.equal(found.pop("state_dict")["w"], good["state_dict"]["w"])
            assert found == {key: good[key] for key in found}
    assert noticed > 40  # the other bits are filling


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_checkpoint_without_permission_is_not_called_damaged(checkpoint: Path) -> None:
    with without_permission(checkpoint), pytest.raises(UserError) as raised:
        read_checkpoint(checkpoint)
    assert str(raised.value) == f"cannot read {checkpoint}: Permission denied"


def test_the_checkpoint_of_another_run_is_refused(checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint, "b/5", "a/5")["epoch"] == 0
    with pytest.raises(UserError, match=r"belongs to another config or seed \(a/5, this run is b"):
        read_checkpoint(checkpoint, "b/5")


def test_a_changed_line_of_a_sealed_yaml_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "resolved.yaml"
    text = sealed("seed: 5\nevaluation:\n  knn_k: 20\n")
    path.write_text(text)
    assert read_yaml(path) == {"seed": 5, "evaluation": {"knn_k": 20}}
    lines = text.splitlines(keepends=True)
    broken = [text.replace("20", "21"), text[:-1], *("".join(lines[:n]) for n in range(1, 5))]
    for one in [*broken, "".join(lines[1:]), text.replace("sha256", "sha255")]:
        path.write_text(one)
        with pytest.raises(UserError, match=r"resolved\.yaml is damaged: its lines are not those"):
            read_yaml(path)
    path.write_text("seed: 5\n")  # of an older version
    assert read_yaml(path) == {"seed": 5}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xfe", "is damaged: 'utf-8' codec"),
        (b"[1]", "holds no JSON object"),
        (b"[" * 100_000, "is damaged: (maximum recursion|Stack overflow)"),
        (b'{"a": 1', "is damaged: Expecting"),
        (json_text(signed({"a": 1})).replace("1", "2", 1).encode(), "not what was written"),
    ],
)
def test_what_is_no_json_of_ours_is_named(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "data.json").write_bytes(data)
    with pytest.raises(UserError, match=rf"data\.json .*{told}|{told}"):
        read_signed(tmp_path / "data.json")


def test_a_pipe_or_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(UserError, match=r"cannot read .* no file but a folder, a pipe"):
            read_signed(tmp_path / name)


def test_a_changed_number_of_a_result_is_noticed(make_run: MakeRun) -> None:
    run = make_run("simclr", 5, 91.25)
    result: Any = run.read_result()  # of an older version: it has no checksum
    run.write_result(result)
    whole = run.result.read_bytes()
    assert run.checksum.read_text().split()[1::2] == ["result.json"] and run.read_result() == result
    run.result.write_bytes(whole.replace(b"91.25", b"97.25", 1))
    with pytest.raises(UserError, match=r"is not what was written, by result\.sha256: remove it"):
        run.read_result()
    run.result.write_bytes(whole)
    line = run.checksum.read_text().rstrip()
    run._write_checksums("0" * 64 + "  result.json", line)  # killed before the result
    assert run.read_result() == result


def test_a_changed_number_of_an_epoch_is_noticed(make_run: MakeRun) -> None:
    run = make_run("simclr", 5, 91.25)
    result: Any = run.read_result()
    run.result.unlink()
    table = "epoch,train_loss,train_nce_loss\n0,5.25,5.0\n"
    run.metrics.write_text(table)
    run.write_result(result)
    listed = run.checksum.read_text()
    subprocess.run(["sha256sum", "--check", "--strict", "result.sha256"], cwd=run.path, check=True)
    assert read_record(run.path).status == "finished" and last_loss(run) == 5.0
    run.metrics.write_text(table.replace("5.0", "6.0"))
    record = read_record(run.path)
    assert record.status == "damaged" and "metrics.csv is not what was written" in record.problem
    assert last_loss(run) is None
    run.write_result(result)  # measured again: what training wrote stays the reference
    assert run.checksum.read_text() == listed and read_record(run.path).status == "damaged"


def test_another_config_in_the_folder_is_refused_before_anything_is_written(
    make_run: MakeRun,
) -> None:
    run = make_run("simclr", 5, 90.0)
    before = run.result.read_bytes()
    for name, number in (("optimizer.lr", 0.7), ("seed", 6)):
        cfg = run.read_config()
        saved = (run.path / "resolved.yaml").read_bytes()
        OmegaConf.update(cfg, name, number)
        (run.path / "resolved.yaml").write_text(OmegaConf.to_yaml(cfg))
        with pytest.raises(UserError, match=r"resolved\.yaml does not belong there or is damaged"):
            LoadedRun(run.path)
        (run.path / "resolved.yaml").write_bytes(saved)
    assert run.result.read_bytes() == before and LoadedRun(run.path).cfg.seed == 5


def test_a_config_that_reads_the_environment_is_refused(make_run: MakeRun) -> None:
    run = make_run("simclr", 5, 90.0)
    text = (run.path / "resolved.yaml").read_text()
    (run.path / "resolved.yaml").write_text(sealed(text.replace("digits", "${oc.env:HOME}")))
    with pytest.raises(UserError, match=r"resolved\.yaml is damaged"):
        run.read_config()


def test_the_recipe_is_the_runs(make_run: MakeRun) -> None:
    run, other = make_run("simclr", 5, 90.0), make_run("simclr", 5, 90.0, "optimizer.lr=0.3")
    path = run.path / "config.yaml"
    assert LoadedRun(run.path).recipe() == path.read_text()
    path.write_bytes((other.path / "config.yaml").read_bytes())
    with pytest.raises(UserError, match=r"config\.yaml is damaged, or belongs to another run"):
        LoadedRun(run.path).recipe()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"config\.yaml is no config of this run: .* is damaged"):
        LoadedRun(run.path).recipe()


def test_a_run_has_one_name_however_it_is_given(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("simclr", 5, 90.0)
    monkeypatch.chdir(run.path)
    (run.path.parents[3] / "best").symlink_to(run.path)
    for path in (Path("."), Path("../5"), run.path.parents[3] / "best"):
        assert LoadedRun(path).folder.hash == run.hash


def test_data_json_that_was_changed_is_not_used(make_run: MakeRun) -> None:
    from solo_registry.runs.run_data import read_record

    run = make_run("simclr", 5, 90.0)
    record = {"digest": "d", "settings": "s", "paths": {}, "images": {}, "info": {"mean": [0.5]}}
    write_json(run.data, signed(record))
    assert read_record(run) == signed(record)
    text = run.data.read_text()
    run.data.write_text(text.replace("0.5", "0.6"))
    assert read_record(run) is None
    run.data.write_text(json.dumps(record))  # of an older version
    assert read_record(run) == record
