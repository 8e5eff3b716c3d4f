"""A trained run at work on image files; its own result and numpy are the oracles."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from tests.conftest import tiny_config
from typer.testing import CliRunner

from solo_registry.api import Run
from solo_registry.cli.main import app
from solo_registry.errors import UserError
from solo_registry.inference.tables import WRITERS, write_table
from solo_registry.jobs.pretrain import pretrain

CLASSES = ("a zero", "one", "$_{$")  # the last breaks what reads it as a formula
pytestmark = pytest.mark.slow


def write_images(folder: Path, start: int, stop: int) -> None:
    digits = load_digits(n_class=len(CLASSES))
    for number in range(start, stop):
        place = folder / CLASSES[digits.target[number]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).save(place / f"{number}.png")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root / "train", 0, 90)
    write_images(root / "val", 90, 130)
    return root


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = {
        "dataset": "custom",
        "train_path": str(images / "train"),
        "val_path": str(images / "val"),
        "channels": 1,
        "num_workers": 0,
    }
    cfg = tiny_config(tmp_path_factory.mktemp("runs"), "simclr", "optimizer.batch_size=32")
    cfg.data, cfg.max_epochs, cfg.telemetry.every_n_epochs = data, 1, 0
    cfg.evaluation.pictures = True
    return Run(pretrain(cfg).path)


def test_the_probe_and_knn_reach_the_accuracies_of_the_result(run: Run, images: Path) -> None:
    trained = run.result["results"]["trained"]
    for by, measured in (("probe", "linear_acc1"), ("knn", "knn_acc1")):
        table = run.predict(images / "val", by)
        truth = [Path(path).parent.name for path in table.index]
        assert 100 * np.mean(table["predicted"] == truth) == pytest.approx(trained[measured])
        shares = table[[f"p_{name}" for name in CLASSES]]
        assert np.allclose(shares.sum(axis=1), 1)
        assert np.allclose(shares.max(axis=1), table["probability"])


def test_features_are_those_of_backbone_and_preprocessing(run: Run, images: Path) -> None:
    table = run.embed(images / "val")
    assert len(table) == 40 and list(table.index) == sorted(table.index)
    for path in table.index[:3]:
        file = images / "val" / path
        with torch.no_grad():
            for image in (file, Image.open(file), np.asarray(Image.open(file))):
                feats = run.backbone()(run.preprocess(image)[None])
                assert np.allclose(feats[0].numpy(), table.loc[path], atol=1e-5)
    some = [images / "val" / path for path in table.index[[5, 2]]]
    assert np.allclose(run.embed(some).to_numpy(), table.iloc[[5, 2]].to_numpy(), atol=1e-5)


def test_neighbours_are_those_of_the_largest_cosine(run: Run, images: Path, tmp_path: Path) -> None:
    bank = run.embed(images / "train").to_numpy()
    query = run.embed(images / "val").iloc[[7]]
    cosines = bank @ query.to_numpy()[0] / np.linalg.norm(bank, axis=1) / np.linalg.norm(query)
    out = tmp_path / "nearest.png"
    found = run.neighbours(images / "val" / query.index[0], k=4, out=out)
    assert np.allclose(found["similarity"], np.sort(cosines)[::-1][:4], atol=1e-5)
    assert all(Path(name).parent.name == label for name, label in found[["name", "label"]].values)
    with Image.open(out) as picture:
        assert min(picture.size) > 100
    own = images / "train" / CLASSES[0] / "0.png"
    assert run.neighbours(own, k=1)["name"].tolist() == [str(own)]
    apart = run.neighbours(own, k=1, among=images / "train")
    assert apart["name"].tolist() != [str(own)] and apart["label"].tolist() == [""]
    with pytest.raises(UserError, match="from 1 to the 90"):
        run.neighbours(own, k=91)


def test_files_that_cannot_be_read_are_left_out_and_named(run: Run, tmp_path: Path) -> None:
    Image.new("L", (9, 5)).save(tmp_path / "wide.png")
    Image.new("CMYK", (5, 9)).save(tmp_path / "colour.tif")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.warns(UserWarning, match=r"left out 1 of 3 .*broken\.png"):
        table = run.embed(tmp_path)
    assert list(table.index) == ["colour.tif", "wide.png"]
    with pytest.raises(UserError, match="none of the 1 images can be read"):
        run.embed(tmp_path / "broken.png")
    with pytest.raises(UserError, match=r"does not exist.*wide\.png"):
        run.embed(tmp_path / "wid.png")


def test_a_run_without_its_images_still_predicts(run: Run, images: Path, tmp_path: Path) -> None:
    moved = tmp_path.joinpath(*run.path.parts[-3:])
    shutil.copytree(run.path, moved)
    alone, expected = Run.open(moved), run.predict(images / "val")
    train = (images / "train").rename(images / "away")
    try:
        assert alone.predict(images / "val").equals(expected)
        with pytest.raises(UserError, match=r"train.* does not exist"):
            alone.predict(images / "val", by="knn")
    finally:
        train.rename(images / "train")
    (moved / "probe.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(UserError, match="is damaged"):
        alone.predict(images / "val")


def test_an_old_run_gets_its_probe_when_it_is_needed(run: Run, images: Path) -> None:
    expected = run.predict(images / "val")
    (run.path / "probe.safetensors").unlink()
    pd.testing.assert_frame_equal(run.predict(images / "val"), expected, rtol=1e-6)
    assert (run.path / "probe.safetensors").exists()


@pytest.mark.parametrize("suffix", WRITERS)
def test_tables_can_be_read_again(suffix: str, tmp_path: Path) -> None:
    index = pd.Index(["a b.png", "é,x.png"], name="path")
    table = pd.DataFrame({"predicted": ["x", "y"], "p_x": np.float32([0.25, 1])}, index=index)
    out = tmp_path / f"table{suffix}"
    write_table(table, out)
    if suffix == ".npz":
        arrays = np.load(out)
        assert arrays["path"].tolist() == list(index)
        assert arrays["predicted"].tolist() == ["x", "y"]
        assert arrays["values"].tolist() == [[0.25], [1]] and arrays["columns"].tolist() == ["p_x"]
        return
    readers = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".json": pd.read_json}
    read = readers[suffix](out)
    read = read if suffix == ".parquet" else read.set_index("path")
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_commands(run: Run, images: Path, tmp_path: Path) -> None:
    def typed(*words: str) -> str:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    out = tmp_path / "x.csv"
    assert "40 images" in typed("embed", str(run.path), str(images / "val"), "--out", str(out))
    assert len(pd.read_csv(out)) == 40
    shown = typed("predict", str(run.path), str(images / "val"), "--out", str(out))
    assert "40 images" in shown and "a zero" in shown
    picture = tmp_path / "n.png"
    one = str(next((images / "val" / CLASSES[1]).iterdir()))
    typed("neighbours", str(run.path), one, "--k", "2", "--out", str(picture))
    assert picture.exists()
    with pytest.raises(UserError, match=r"\.parquet, \.csv, \.json, \.npz.*Did you mean '\.csv'"):
        typed("embed", str(run.path), one, "--out", "x.cvs")


def test_the_page_on_inference_shows_what_works(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python block runs, with this run in place of the training and of the hash."""
    page = (Path(__file__).parents[3] / "docs" / "inference.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    shutil.copytree(images / "val", tmp_path / "photos")
    shutil.copy(next((images / "val" / CLASSES[0]).iterdir()), tmp_path / "photo.jpg")
    shutil.copytree(run.path.parents[2], tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dyntemp.pretrain", lambda *_, **__: run)
    exec(code.replace('"3d10"', repr(run.path.parent.name)), space := {})  # type: ignore[var-annotated]
    assert space["model"](space["x"][None]).shape == (1, 16)


def test_a_notebook_shows_a_run(run: Run) -> None:
    page = run._repr_html_()
    assert "trained backbone" in page and str(run.path) in page
    assert run.metrics["train_nce_loss"].notna().all()
    assert run.config["method"] == "simclr"
    assert json.dumps(run.result)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_names_that_are_not_utf8_are_escaped(run: Run, images: Path, tmp_path: Path) -> None:
    photos = tmp_path / os.fsdecode(b"ph\xf6tos")
    shutil.copytree(images / "val", photos / os.fsdecode(b"k\xe4tzchen"))
    table = run.embed(photos)
    assert len(table) == 40 and table.index[0].startswith(r"k\xe4tzchen/")
    for suffix in WRITERS:
        write_table(run.predict(photos), tmp_path / f"table{suffix}")
    back = pd.read_parquet(tmp_path / "table.parquet").index
    assert list(back) == list(table.index)
    query = next(photos.rglob("*.png"))
    found = run.neighbours(query, k=2, among=photos, out=tmp_path / "near.png")
    assert all(r"ph\xf6tos/k\xe4tzchen" in name for name in found["name"])
