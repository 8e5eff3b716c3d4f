from __future__ import annotations

import io
import json
import logging
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from tests.conftest import tiny_config
from typer.testing import CliRunner

from solo_registry.cli.main import app
from solo_registry.data.subset import stratified
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Classifier, Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.knn_grid import knn_grid
from solo_registry.evaluation.run import evaluate_again
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training import callbacks

QUIET = Console(quiet=True)
LINEAR = Recipe(frozen=True, epochs=4, lr=0.1)
FINETUNE = Recipe(frozen=False, epochs=4, lr=0.05)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    runs_dir = tmp_path_factory.mktemp("trained")
    words = ("max_epochs=3", "telemetry.every_n_epochs=0", "evaluation.linear=false")
    return pretrain(tiny_config(runs_dir, "simclr", *words))


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the trained run, so that a test may change it."""
    own = tmp_path.joinpath("runs", *trained.path.parts[-3:])
    return RunFolder(Path(shutil.copytree(trained.path, own)))


@pytest.mark.slow
def test_linear_finetune_and_few_labels(run: RunFolder) -> None:
    weights = run.checkpoint.read_bytes()
    logging.getLogger("lightning.pytorch").setLevel(logging.INFO)  # as its import does
    linear = classify(run.path, LINEAR, QUIET)
    assert logging.getLogger("lightning.pytorch").level == logging.WARNING  # no tips of its own
    full = classify(run.path, FINETUNE, QUIET)
    tenth = classify(run.path, replace(FINETUNE, labels=0.1), QUIET)
    assert 10 < tenth["acc1"] < full["acc1"] and linear["acc1"] > 20  # chance is 10
    assert run.checkpoint.read_bytes() == weights
    files = {path.name for path in (run.path / "evaluations").iterdir()}
    assert files == {"linear.json", "finetune.json", "finetune-10pct.json"}
    assert json.loads((run.path / "evaluations/finetune-10pct.json").read_text()) == tenth
    assert tenth["settings"]["train_images"] == 142 and full["settings"]["train_images"] == 1437
    assert tenth["effective_lr"] == pytest.approx(0.05 * 142 / 256)
    assert "10 % of the labels (142 images)" in tenth["protocol"]
    assert "4 epochs" in linear["protocol"] and "last epoch" in linear["protocol"]


@pytest.mark.slow
def test_the_same_settings_give_the_same_number_and_are_not_trained_twice(run: RunFolder) -> None:
    recipe = replace(FINETUNE, labels=0.05, epochs=2)
    first = classify(run.path, recipe, QUIET)
    out = run.path / "evaluations" / "finetune-5pct.json"
    written = out.stat().st_mtime_ns
    assert classify(run.path, recipe, QUIET) == first
    assert out.stat().st_mtime_ns == written
    out.write_text('{"cut')  # a damaged file is made again
    torch.manual_seed(99)  # what ran before must not matter
    assert classify(run.path, recipe, QUIET) == first
    untrained = classify(run.path, replace(recipe, pretrained=False), QUIET)
    assert untrained["acc1"] != first["acc1"] and untrained["pretraining_epochs"] == 0
    assert "from untrained weights" in untrained["protocol"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "last"),  # 3: all epochs done, and killed before the result
    [
        (LINEAR, 1),
        (FINETUNE, 3),
        pytest.param(LINEAR, 3, marks=pytest.mark.nightly),
        pytest.param(FINETUNE, 1, marks=pytest.mark.nightly),
    ],
)
def test_stopped_and_called_again_ends_as_unbroken(
    run: RunFolder, recipe: Recipe, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify(run.path, recipe, QUIET)
    out = run.path / "evaluations" / f"{recipe.name}.json"
    unbroken = out.read_bytes()
    assert list(out.parent.iterdir()) == [out]
    out.unlink()
    save = callbacks.LastCheckpoint.on_train_epoch_end

    def die(self: Any, trainer: Any, module: Any) -> None:
        save(self, trainer, module)
        if trainer.current_epoch == last:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.LastCheckpoint, "on_train_epoch_end", die)
        with pytest.raises(InterruptedError):
            classify(run.path, recipe, QUIET)
    (saved,) = out.parent.iterdir()
    assert (saved.stat().st_size < run.checkpoint.stat().st_size / 4) == recipe.frozen
    classify(run.path, replace(recipe, epochs=1), QUIET)  # other settings neither take nor end it
    assert set(out.parent.iterdir()) == {saved, out}
    torch.manual_seed(99)  # what ran before must not matter
    told = Console(record=True, width=500)
    epochs = count_epochs(monkeypatch)
    classify(run.path, recipe, told)
    assert f"resuming from {saved}" in told.export_text() and epochs == list(range(last + 1, 4))
    assert out.read_bytes() == unbroken and list(out.parent.iterdir()) == [out]


def count_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that takes up each epoch that begins."""
    begun: list[int] = []
    monkeypatch.setattr(
        Classifier, "on_train_epoch_start", lambda self: begun.append(self.current_epoch)
    )
    return begun


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_end", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            classify(run.path, LINEAR, QUIET)
    (saved,) = (run.path / "evaluations").iterdir()
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"linear-\w+\.ckpt is damaged"):
        classify(run.path, LINEAR, QUIET)


@pytest.mark.nightly
@pytest.mark.slow
def test_kill_9_leaves_a_probe_that_goes_on(run: RunFolder) -> None:
    command = [sys.executable, "-m", "solo_registry", "finetune", str(run.path), "--epochs", "9"]
    folder = run.path / "evaluations"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while not list(folder.glob("*.ckpt")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not list(folder.glob("*.json")), "it was not killed in time"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0 and "resuming from" in again.stdout, again.stderr
    (out,) = folder.iterdir()
    broken = out.read_bytes()
    out.unlink()
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == broken


def test_frozen_means_frozen() -> None:
    for frozen in (True, False):
        backbone: Any = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        classifier = Classifier(backbone, 3, 2, Recipe(frozen=frozen, epochs=1, lr=0.1), 0.1)
        classifier.on_train_start()
        before = backbone[1].running_mean.clone()
        classifier(torch.randn(8, 4)).square().sum().backward()
        assert (backbone[0].weight.grad is None) == frozen
        assert torch.equal(backbone[1].running_mean, before) == frozen
        assert classifier.head.weight.grad is not None


def test_label_shares_are_stratified_and_seeded() -> None:
    targets = torch.arange(10).repeat_interleave(torch.arange(10, 110, 10))
    chosen = [stratified(targets, 0.1, seed) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    for indices in chosen:
        assert targets[indices].bincount().tolist() == list(range(1, 11))


@pytest.mark.slow
def test_bad_words_are_refused(run: RunFolder) -> None:
    for words, text in (
        (["finetune", "RUN", "--labels", "0"], "labels must be above 0 and at most 1"),
        (["linear", "RUN", "--epochs", "0"], "epochs must be at least 1"),
        (["linear", "nowhere"], "no run beginning with 'nowhere'"),
        (["linear", "RUN", "--data", "digts"], "unknown data set 'digts'. Did you mean 'digits'"),
        (["knn", "RUN", "--k", "1,x"], "--k takes whole numbers"),
        (["knn", "RUN", "--k", "99999"], "k=99999 is more than the 1437"),
        (["knn", "RUN", "--distance", "cosin"], "unknown distance 'cosin'. Did you mean 'cosine'"),
    ):
        done = CliRunner().invoke(app, [str(run.path) if word == "RUN" else word for word in words])
        assert isinstance(done.exception, UserError) and text in str(done.exception)
    assert not (run.path / "evaluations").exists()


@pytest.mark.slow
def test_knn_for_lists(run: RunFolder) -> None:
    k, temperatures = [1, 20, 5000], [0.07, 0.1]
    distances = ["cosine", "euclidean"]
    out = io.StringIO()
    result = knn_grid(
        run.path, Console(file=out, width=80), k=k, temperatures=temperatures, distances=distances
    )
    assert len(result["rows"]) == 2 * 2 + 2  # for the two k that there are images for
    assert (
        "k=5000 is more than the 1437 labelled images of train, so it is left out" in out.getvalue()
    )
    own: Any = run.read_result()
    (row,) = (
        row
        for row in result["rows"]
        if (row["k"], row["temperature"], row["distance"]) == (20, 0.1, "cosine")
    )
    assert row["acc1"] == own["results"]["trained"]["knn_acc1"]


@pytest.mark.slow
def test_transfer_keeps_channels_normalisation_and_the_runs_own_result(run: RunFolder) -> None:
    own = run.read_result()
    assert own is not None
    # the same images under a name of their own: the numbers must be those of the run
    from solo_registry.catalog.registry import DATASETS
    from solo_registry.data.arrays import digits

    DATASETS.register("digits_again")(digits)
    try:
        moved = evaluate_again(run.path, {"pictures": False}, QUIET, "digits_again")
    finally:
        DATASETS._entries.pop("digits_again"), DATASETS._loaded.pop("digits_again")
    assert moved["results"] == own["results"]
    assert moved["normalisation"] == own["normalisation"] and moved["pretrained_on"] == "digits"
    assert run.read_result() == own
    name = f"digits_again-{own['data_digest'][:8]}.json"
    assert (run.path / "evaluations" / name).is_file()


@pytest.mark.slow
def test_transfer_to_a_folder_holds_test_images_out(run: RunFolder, tmp_path: Path) -> None:
    photos = tmp_path / "my photos"
    for label in range(2):
        for number in range(20):
            image = Image.new("L", (9, 8), color=100 * label + number)
            (photos / str(label)).mkdir(parents=True, exist_ok=True)
            image.save(photos / str(label) / f"{number}.png")
    words = [str(run.path), "--data", str(photos)]
    for command in (
        ["evaluate", "--no-pictures"],
        ["knn", "--k", "1"],
        ["linear", "--epochs", "2"],
    ):
        done = CliRunner().invoke(app, [command[0], *words, *command[1:]])
        assert done.exit_code == 0, done.output
    (path,) = (run.path / "evaluations").glob("custom-????????.json")
    found = json.loads(path.read_text())
    assert (found["test_images"], found["train_images"]) == (12, 28)  # 0.3 of each class
    assert found["results"]["trained"]["knn_acc1"] == 100  # dark and bright
    names = {path.name.rpartition("-")[2] for path in path.parent.iterdir()}
    assert {"knn.json", "linear.json"} < names
    done = CliRunner().invoke(app, ["knn", str(run.path), "--data", str(photos / "none")])
    assert isinstance(done.exception, UserError) and "nothing lies at" in str(done.exception)
