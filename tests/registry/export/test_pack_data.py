"""`dyntemp pack-data`: complete or absent, and the bytes of the files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.registry.kills import KILLED, Victim
from typer.testing import CliRunner

from solo_registry.cli.main import app
from solo_registry.data.sets import load_set
from solo_registry.export.pack_data import pack_data

datasets = pytest.importorskip("datasets", reason="datasets is not installed")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (6, 90, 90, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def test_the_command_keeps_the_bytes_of_the_files(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    done = CliRunner().invoke(app, ["pack-data", str(photos), str(out), "--val", str(photos)])
    assert done.output.endswith("packed: 6 images of train, 6 images of val\n"), done.output
    rows = datasets.Dataset.from_file(str(out / "val-00000.arrow"))
    for row in rows.cast_column("image", datasets.Image(decode=False)):
        assert row["image"]["bytes"] == (photos / row["file"]).read_bytes()
        assert row["file"].startswith("ab"[row["label"]])


def test_train_and_val_in_one_folder_are_two_splits(photos: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(photos, both / "train")
    shutil.copytree(photos, both / "val")
    done = CliRunner().invoke(app, ["pack-data", str(both), str(tmp_path / "one")])
    assert done.exit_code == 0 and "images of train" in done.output
    words = ["pack-data", str(photos), str(tmp_path / "two"), "--val", str(photos)]
    assert CliRunner().invoke(app, words).exit_code == 0
    files = [sorted((tmp_path / name).iterdir()) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert [path.name[:3] for path in files[0]] == ["tra", "val"]


@pytest.mark.nightly
def test_a_killed_pack_is_complete_or_absent(photos: Path, tmp_path: Path) -> None:
    out, number = tmp_path / "out" / "packed", 0
    out.parent.mkdir()
    with Victim(out.parent, pack_data, photos, out) as victim:
        while not out.exists():
            number += 1
            code = victim.run(number)
            assert out.exists() or code == KILLED
    assert number > 3
    images = load_set(SimpleNamespace(dataset="hf", train_path=str(out)), "train")
    assert images is not None and len(images) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_are_not_utf8_are_escaped(photos: Path, tmp_path: Path) -> None:
    (photos / "a").rename(photos / os.fsdecode(b"\xe4"))
    (photos / "b" / "1.png").rename(photos / "b" / os.fsdecode(b"\xfc.png"))
    pack_data(photos, tmp_path / "packed")
    rows = datasets.Dataset.from_file(str(tmp_path / "packed" / "train-00000.arrow"))
    assert rows.features["label"].names == [r"\xe4", "b"]
    assert r"b/\xfc.png" in rows["file"] and r"\xe4/0.png" in rows["file"]
