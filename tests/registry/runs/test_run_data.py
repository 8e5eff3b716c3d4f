"""A number belongs to the images it was measured on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console

from solo_registry.config.compose import run_with_config
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.knn_grid import knn_grid
from solo_registry.evaluation.run import evaluate_again
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training import callbacks

Start = Callable[..., RunFolder]
QUIET = Console(quiet=True)
LINEAR = Recipe(frozen=True, epochs=10, lr=20.0)


def photos(root: Path, seed: int = 0, count: int = 6, noise: bool = False) -> Path:
    """Two classes, dark and bright; or noise, which nothing tells apart."""
    random = np.random.default_rng(seed)
    for place, name in enumerate(("dark", "bright")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            low, width = (0, 256) if noise else (200 * place, 56)
            pixels = random.integers(low, low + width, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.bmp")
    return root


@pytest.fixture
def start(tiny: Callable[..., DictConfig], tmp_path: Path) -> Start:
    """Return a function that trains on the folder `tmp_path/photos`, or says why not."""

    def run(*words: str) -> RunFolder:
        data = [f"data.train_path={tmp_path}/photos/train", f"data.val_path={tmp_path}/photos/val"]
        own = ["data.dataset=custom", *data, "optimizer.batch_size=4", "max_epochs=2"]
        quick = ["evaluation.baselines=false", "evaluation.linear=false"]
        quick += ["telemetry.every_n_epochs=0"]
        return pretrain(tiny("simclr", *own, *quick, *words), QUIET)

    for number, split in enumerate(("train", "val")):
        photos(tmp_path / "photos" / split, seed=number)
    return run


@pytest.fixture
def killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that trains and dies after the first epoch."""

    def run() -> None:
        save = callbacks.LastCheckpoint.on_train_epoch_end

        def die(self: Any, trainer: Any, module: Any) -> None:
            save(self, trainer, module)
            raise InterruptedError

        with monkeypatch.context() as patch, pytest.raises(InterruptedError):
            patch.setattr(callbacks.LastCheckpoint, "on_train_epoch_end", die)
            start()

    return run


@pytest.mark.slow
def test_the_same_words_on_other_images_are_another_run(start: Start, tmp_path: Path) -> None:
    first = start()
    before = first.result.read_bytes()
    (tmp_path / "photos").rename(tmp_path / "moved")
    for split in ("train", "val"):
        photos(tmp_path / "photos" / split, count=7)
    second = start()
    assert second.path != first.path and first.result.read_bytes() == before
    digests = [json.loads(run.result.read_text())["data_digest"] for run in (first, second)]
    assert len(set(digests)) == 2
    # the first images elsewhere, and the run is known again
    words = [f"data.{split}_path={tmp_path}/moved/{split}" for split in ("train", "val")]
    assert start(*words).path == first.path and first.result.read_bytes() == before


@pytest.mark.slow
def test_images_added_to_an_unfinished_run_are_refused(
    start: Start, killed: Callable[[], None], tmp_path: Path
) -> None:
    killed()
    added = tmp_path / "photos" / "train" / "dark" / "z.bmp"
    shutil.copy(added.with_name("0.bmp"), added)
    text = r"images have changed since .*: Of train there were 12 images, now there are 13 \(dark: "
    with pytest.raises(
        UserError, match=text + r"6, now 7\)\. Put them back .*auto_resume\.enabled"
    ):
        start()
    other = start("auto_resume.enabled=false")
    assert json.loads(other.result.read_text())["train_images"] == 13
    added.unlink()
    whole = start()
    assert whole.path != other.path and json.loads(whole.result.read_text())["train_images"] == 12


@pytest.mark.slow
def test_a_checkpoint_of_other_images_is_refused(
    start: Start, killed: Callable[[], None], tmp_path: Path
) -> None:
    killed()
    (checkpoint,) = tmp_path.glob("runs/*/*/5/checkpoints/last.ckpt")
    photos(tmp_path / "photos" / "val", count=1)
    (tmp_path / "photos" / "val" / "dark" / "5.bmp").rename(tmp_path / "photos/val/dark/x.bmp")
    words = ("auto_resume.enabled=false", "data.on_error=skip")
    with pytest.raises(UserError, match=r"numbers of images are the same: names, sizes"):
        start("auto_resume.enabled=false", f"resume_from_checkpoint={checkpoint}")
    with pytest.raises(UserError, match=r"belongs to another config or seed .* or to other data"):
        start(*words, f"resume_from_checkpoint={checkpoint}")


@pytest.mark.slow
def test_asked_for_by_digest_other_images_are_refused(start: Start) -> None:
    with pytest.raises(UserError, match=r"data\.digest asks for other images .* d0, found d"):
        start("data.digest=d0")
    digest = json.loads(start().result.read_text())["data_digest"]
    assert start(f"data.digest={digest}").result.exists()


@pytest.mark.slow
def test_a_finished_run_is_not_measured_on_changed_images(start: Start, tmp_path: Path) -> None:
    run = start()
    photos(tmp_path / "photos" / "val", count=8)
    for measure in (
        lambda: classify(run.path, LINEAR, QUIET),
        lambda: knn_grid(run.path, QUIET, k=[1], temperatures=[0.1]),
        lambda: evaluate_again(run.path, {"knn_k": 2}, QUIET),
    ):
        with pytest.raises(
            UserError, match=r"other images.* Of val there were 12.*--data-path FOLDER"
        ):
            measure()


@pytest.mark.slow
def test_each_data_set_has_results_of_its_own(start: Start, tmp_path: Path) -> None:
    """Equal in name, size and classes: only the digest tells them apart."""
    run = start()
    found = {}
    for name, noise in (("clear", False), ("noise", True)):
        where = {
            "data": "custom",
            "train_path": str(photos(tmp_path / name / "train", 7, 20, noise)),
            "val_path": str(photos(tmp_path / name / "val", 8, 20, noise)),
        }
        found[name] = (
            classify(run.path, LINEAR, QUIET, **where)["acc1"],
            knn_grid(run.path, QUIET, k=[3], temperatures=[0.1], **where)["rows"][0]["acc1"],
            evaluate_again(run.path, {}, QUIET, **where)["results"]["trained"]["knn_acc1"],
        )
    assert min(found["clear"]) > max(found["noise"])
    files = [path.name for path in (run.path / "evaluations").iterdir()]
    assert len(files) == 6 and sum(name.startswith("custom-d") for name in files) == 6
    where = {"train_path": f"{tmp_path}/clear/train", "val_path": f"{tmp_path}/clear/val"}
    assert classify(run.path, LINEAR, QUIET, data="custom", **where)["acc1"] == found["clear"][0]


@pytest.mark.slow
def test_nothing_else_needs_the_images_of_pretraining(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start()
    monkeypatch.chdir(tmp_path / "runs")
    assert classify(run.path, LINEAR, QUIET)["acc1"] >= 0  # from another folder
    (tmp_path / "photos").rename(tmp_path / "gone")
    where = {"train_path": f"{tmp_path}/gone/train", "val_path": f"{tmp_path}/gone/val"}
    own = json.loads(run.result.read_text())
    moved = evaluate_again(run.path, {}, QUIET, "custom", **where)
    for split in ("train", "val"):  # unsorted
        for file in (tmp_path / "gone" / split).rglob("*.*"):
            copy = tmp_path / "mixed" / split / f"{file.parent.name}-{file.name}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    mixed = {"train_path": f"{tmp_path}/mixed/train", "val_path": f"{tmp_path}/mixed/val"}
    with pytest.raises(UserError, match="--no-labels"):
        evaluate_again(run.path, {}, QUIET, "custom", **mixed)
    unsorted = evaluate_again(run.path, {}, QUIET, "custom", no_labels=True, **mixed)
    assert unsorted["results"]["trained"]["uniformity"] == own["results"]["trained"]["uniformity"]
    assert moved["results"] == own["results"] and moved["normalisation"] == own["normalisation"]
    brief = replace(LINEAR, epochs=1)
    assert classify(run.path, brief, QUIET, data="digits")["dataset"] == "digits"
    assert (
        knn_grid(run.path, QUIET, k=[1], temperatures=[0.1], data="digits")["train_images"] > 1000
    )
    assert (export_run(run.path, "torch", None, QUIET) / "backbone.pt").exists()
    with pytest.raises(UserError, match=r"photos/train does not exist"):
        evaluate_again(run.path, {"knn_k": 3}, QUIET)


@pytest.mark.slow
def test_paths_may_begin_with_the_home_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path / "photos")
    run = start("runs_dir=~/here", "data.train_path=~/photos/train", "max_epochs=1")
    assert run.path.is_relative_to(tmp_path / "here") and run.result.exists()
    words = ["method=simclr", "data=digits", "runs_dir=~/here", "seed=1,2", "--multirun"]
    run_with_config(lambda cfg: None, words)
    assert not Path("~").exists()
    copy = shutil.copy(run.checkpoint, tmp_path / "other.ckpt")
    run.result.unlink(), run.checkpoint.unlink()
    again = start("runs_dir=~/here", "max_epochs=1", f"resume_from_checkpoint=~/{copy.name}")
    assert again.path == run.path and run.result.exists()
    for key in ("data.train_path", "data.val_path", "runs_dir", "resume_from_checkpoint"):
        with pytest.raises(UserError, match=f"{key} is empty: give a path, or leave {key} out"):
            start(f"{key}=''")
