from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_folder import RunFolder
from solo_registry.sweep import follow
from solo_registry.training import callbacks

Tiny = Callable[..., DictConfig]


# 143 images in batches of 32, for what any run shows
SHORT = ("max_epochs=1", "data.fraction=0.1", "optimizer.batch_size=32",
         "telemetry.every_n_epochs=0")  # fmt: skip


@pytest.mark.slow
def test_a_finished_run_holds_everything_and_is_not_run_again(tiny: Tiny) -> None:
    given = tiny("simclr_dyntemp", "max_epochs=1", "evaluation.pictures=true")
    run = pretrain(given)
    files = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert files == {
        "config.yaml", "resolved.yaml", "environment.json", "cost.json", "metrics.csv",
        "result.json", "checkpoints/last.ckpt", "plots/training.png", "plots/temperature.png",
        "plots/features.png", "plots/comparison.png", "mechanism.parquet", "trajectory.parquet",
        "plots/mechanism.png", "plots/trajectory.png", "data.json", "result.sha256",
        "probe.safetensors",
    }  # fmt: skip
    result = json.loads(run.result.read_text())
    assert result["schema_version"] == 2 and result["epochs"] == 1
    assert result["config_hash"] == run.path.parent.name and run.path.name == "5"
    assert set(result["results"]) == {"raw_pixels", "untrained", "trained"}
    assert OmegaConf.load(run.path / "config.yaml").optimizer.lr == 0.1
    assert OmegaConf.load(run.path / "resolved.yaml").optimizer.effective_lr == 0.05
    assert len(pd.read_csv(run.metrics)) == 1
    written = run.checkpoint.stat().st_mtime_ns
    assert pretrain(given).path == run.path
    assert run.checkpoint.stat().st_mtime_ns == written
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


@pytest.mark.slow
def test_other_evaluation_settings_measure_again_without_training(tiny: Tiny) -> None:
    written = set()

    def results(*words: str) -> Any:
        run = pretrain(tiny("simclr", *SHORT, *words))
        written.add(run.checkpoint.stat().st_mtime_ns)
        return json.loads(run.result.read_text())["results"]

    short = results("evaluation.baselines=false", "evaluation.linear=false")
    assert list(short) == ["trained"] and short["trained"]["linear_acc1"] is None
    whole = results()
    assert set(whole) == {"raw_pixels", "untrained", "trained"}
    assert whole["trained"]["linear_acc1"] > 0
    assert whole["trained"]["knn_acc1"] == short["trained"]["knn_acc1"]
    assert results("evaluation.knn_k=5")["trained"]["knn_k"] == 5
    assert len(written) == 1


@pytest.mark.slow
def test_a_result_of_before_a_setting_is_not_measured_again(tiny: Tiny) -> None:
    run = pretrain(tiny("simclr", *SHORT))
    result = json.loads(run.result.read_text())
    del result["evaluation"]["map"]
    run.write_result(result)
    pretrain(tiny("simclr", *SHORT))
    assert json.loads(run.result.read_text()) == result


def test_seeds_and_temperatures_have_folders_of_their_own(tiny: Tiny) -> None:
    paths = {
        RunFolder.of(resolve(tiny("simclr_dyntemp", override, "data.digest=d0"))).path
        for override in ("seed=1", "seed=2", "method_kwargs.tau_max=0.3", "max_epochs=7")
    }
    assert len(paths) == 4
    with pytest.raises(ValueError, match=r"data\.digest or a key that the images decide is null"):
        RunFolder.of(resolve(tiny("simclr_dyntemp")))


@pytest.mark.slow
def test_gradient_accumulation_moves_the_momentum_network_once_per_optimizer_step(
    tiny: Tiny,
) -> None:
    run = pretrain(
        tiny(
            "mocov2plus", "max_epochs=1", "accumulate_grad_batches=2", "evaluation.enabled=false",
            "optimizer.batch_size=256", "method_kwargs.queue_size=512",
        )
    )  # fmt: skip
    # 1,437 images make 5 batches of 256, so 3 optimizer steps: 2 + 2 + 1
    assert read_checkpoint(run.checkpoint)["global_step"] == 3


@pytest.mark.slow
def test_multicrop_and_online_knn_train(tiny: Tiny) -> None:
    crops = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 3}]
    given = tiny(
        "simclr_dyntemp", "max_epochs=1", "knn_eval.enabled=true", "evaluation.enabled=false",
        augmentations=crops,
    )  # fmt: skip
    row = pd.read_csv(pretrain(given).metrics).iloc[0]
    assert 0 < row.val_knn_acc1 <= 100 and row.train_nce_loss > 0


def test_online_knn_with_more_neighbours_than_images_is_refused(tiny: Tiny) -> None:
    few = ("knn_eval.enabled=true", "data.fraction=0.01", "optimizer.batch_size=8")
    with pytest.raises(UserError, match=r"knn_eval\.k=20 is more than the 8 images of an epoch"):
        pretrain(tiny("simclr", *few))


@pytest.mark.slow
def test_tensorboard_is_a_config_choice(tiny: Tiny) -> None:
    words = (*SHORT, "logger=tensorboard", "evaluation.pictures=true", "evaluation.linear=false",
             "log_every_n_steps=2")  # fmt: skip
    run = pretrain(tiny("simclr", *words))
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    result = run.read_result()
    assert result is not None
    (logged,) = events.Scalars("evaluation/trained/knn_acc1")
    assert logged.step == result["steps"]
    assert logged.value == pytest.approx(result["results"]["trained"]["knn_acc1"])
    assert "val_acc1" in events.Tags()["scalars"]
    for name in ("train_acc1_step", "train_nce_loss_step"):  # 143 images in batches of 32
        assert [event.step for event in events.Scalars(name)] == [1, 3]
    assert set(events.Tags()["images"]) == {f"evaluation/{p.stem}" for p in run.plots.glob("*.png")}


def test_a_logger_that_is_not_installed_is_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'solo-dyntemp\[wandb\]'"):
        pretrain(tiny("simclr", "max_epochs=1", "logger=wandb"))


def test_more_accumulated_batches_than_an_epoch_has_are_refused(tiny: Tiny) -> None:
    few = ("data.fraction=0.1", "optimizer.batch_size=64", "accumulate_grad_batches=3")
    with pytest.raises(UserError, match=r"accumulate_grad_batches=3 is more than the 2 batches"):
        pretrain(tiny("simclr", *few))


def test_batch_larger_than_the_data_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"batch_size=5000 is more than the 1437"):
        pretrain(tiny("simclr", "optimizer.batch_size=5000"))


def test_queue_not_divisible_by_the_batch_is_refused_before_training(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"queue_size is 1000, .* divisible by the batch of 128"):
        pretrain(tiny("mocov2plus", "method_kwargs.queue_size=1000"))
    assert not list(Path(tiny("simclr").runs_dir).rglob("*"))


def test_an_accelerator_that_is_not_there_is_refused(tiny: Tiny) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UserError, match="no trainer for accelerator=gpu"):
        pretrain(tiny("simclr", "accelerator=gpu"))


@pytest.mark.slow
def test_epochs_without_validation_have_empty_cells(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("max_epochs=5", "check_val_every_n_epoch=2", "evaluation.enabled=false")
    words += ("data.fraction=0.05", "optimizer.batch_size=32")
    words += ("progress=lines", "telemetry.every_n_epochs=0", "knn_eval.enabled=true")
    told = Console(file=io.StringIO(), width=200)
    run = pretrain(tiny("simclr", *words), told)
    table = pd.read_csv(run.metrics)
    for name in ("val_loss", "val_acc1", "val_acc5", "val_knn_acc1"):
        assert table[name].notna().tolist() == [False, True, False, True, False], name
        assert list(follow.curve(run, name)) == [2, 4]
    assert table["train_acc1"].notna().all()
    lines = [line for line in told.file.getvalue().splitlines() if line.startswith("epoch ")]  # type: ignore[attr-defined]
    assert ["kNN val" in line for line in lines] == [False, True, False, True, False]

    # stopped after an epoch that validated, and one that did not
    class Stop(Exception):
        pass

    start = callbacks.SeedEpoch.on_train_epoch_start
    for number, epochs in enumerate((2, 3)):

        def die(self: Any, trainer: Any, module: Any, last: int = epochs) -> None:
            start(self, trainer, module)
            if trainer.current_epoch == last:
                raise Stop

        broken = tiny("simclr", *words, f"runs_dir={tmp_path}/broken{number}")
        with monkeypatch.context() as patch:
            patch.setattr(callbacks.SeedEpoch, "on_train_epoch_start", die)
            with pytest.raises(Stop):
                pretrain(broken)
        assert pretrain(broken).metrics.read_bytes() == run.metrics.read_bytes()
