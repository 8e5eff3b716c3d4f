"""What a config leaves to the images: the values, their reasons, and who overrides them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_registry.config.compose import compose_config
from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.config.undecided import undecided
from solo_registry.data.from_images import Choice, Facts, Planned, completed
from solo_registry.data.module import build_data
from solo_registry.data.opened import open_data
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.jobs.table import runs_table
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.run_folder import RunFolder

Photos = Callable[..., Path]


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Return a maker of folders: photos(30, size=(28, 40)) has 30 images in three classes."""

    def make(number: int, size: tuple[int, int] = (28, 40), name: str = "photos") -> Path:
        for index in range(number):
            folder = tmp_path / name / "abc"[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", size, index).save(folder / f"{index:04}.png")
        return tmp_path / name

    return make


def composed(folder: Path, *words: str) -> DictConfig:
    return resolve(compose_config([f"data={folder}", *words]))


def chosen(folder: Path, *words: str) -> tuple[DictConfig, str]:
    cfg = composed(folder, *words)
    return completed(cfg, open_data(cfg.data))


@cache
def of_any_folder(*words: str) -> DictConfig:
    return composed(Path.cwd(), *words)


def values(images: int, side: int, *words: str, has_val: bool = False) -> DictConfig:
    """Choose for a number of images in ten classes, without any files."""
    cfg = of_any_folder(*words).copy()
    choice = Choice(cfg, Facts(torch.arange(images) % 10, has_val, side))
    for name, choose in choice.ways.items():
        for key in (key for key in undecided(cfg) if key.startswith(name) or key.endswith(name)):
            OmegaConf.update(cfg, key, choose()[0])
    return resolve(cfg)


def test_every_value_is_filled_in_with_its_reason(photos: Photos) -> None:
    folder = photos(60)
    left = undecided(composed(folder))
    assert len(left) == 9
    cfg, text = chosen(folder)
    assert not undecided(cfg) and cfg.optimizer.effective_lr > 0
    for key in left:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {key}=")]
        assert line.split()[0] == f"{key}={OmegaConf.select(cfg, key)}" and len(line.split()) > 2
    assert build_data(cfg).val_set is not None


@pytest.mark.slow
def test_a_method_gets_what_it_needs() -> None:
    assert values(600, 28, "method=mae").backbone.name == "vit_tiny"
    assert values(600, 28, "method=simclr").optimizer.batch_size == 64
    for size, batch in ((128, 128), (32, 64)):
        words = f"method_kwargs.whitening_size={size}", "method_kwargs.proj_output_dim=16"
        assert values(600, 28, "method=wmse", *words).optimizer.batch_size == batch
    with pytest.raises(UserError, match=r"whitening_size=16 and .*proj_output_dim=8 work"):
        values(60, 28, "method=wmse")
    words = "method_kwargs.whitening_size=16", "method_kwargs.proj_output_dim=8"
    assert values(60, 28, "method=wmse", *words).optimizer.batch_size == 16


@pytest.mark.parametrize(
    "word",
    [
        "data.validation_fraction=0.5", "augmentations.0.crop_size=16", "backbone.name=resnet18",
        "optimizer.name=lars", "optimizer.batch_size=7", "optimizer.lr=0.7",
        "optimizer.classifier_lr=0.7", "scheduler.warmup_epochs=3.5", "max_epochs=7",
    ],
)  # fmt: skip
def test_what_is_given_stays(photos: Photos, word: str) -> None:
    key, _, value = word.partition("=")
    cfg, text = chosen(photos(30), word)
    assert str(OmegaConf.select(cfg, key)) == value and f"{key}=" not in text


def test_a_group_of_views_or_a_recipe_stays(photos: Photos) -> None:
    folder = photos(30)
    cfg, text = chosen(folder, "augmentations=symmetric32", "recipe=imagenet/simclr")
    recipe = compose_config(["recipe=imagenet/simclr"])
    assert (cfg.optimizer.name, cfg.max_epochs) == (recipe.optimizer.name, recipe.max_epochs)
    assert "crop_size" not in text and "optimizer.name" not in text


@pytest.mark.slow
def test_the_hash_holds_the_values_and_is_the_same_for_equal_images(photos: Photos) -> None:
    folder, twin = photos(30), photos(30, name="twin")
    cfg, _ = chosen(folder)
    words = [f"{key}={OmegaConf.select(cfg, key)}" for key in undecided(composed(folder))]
    by_hand, text = chosen(folder, *words)
    assert text == "" and config_hash(by_hand) == config_hash(cfg) == config_hash(chosen(twin)[0])
    assert config_hash(chosen(photos(33, name="more"))[0]) != config_hash(cfg)
    with pytest.raises(ValueError, match="the images decide is null"):
        open_cfg = composed(folder)
        open_cfg.data.digest = "d0"
        RunFolder.of(open_cfg)


def test_a_plan_names_the_run_as_the_run_names_itself(photos: Photos) -> None:
    folder = photos(30)
    assert RunFolder.of(Planned().completed(composed(folder))).path == (
        RunFolder.of(chosen(folder)[0]).path
    )


@pytest.mark.parametrize("images", [2, 3, 15, 16, 17, 60, 100, 299, 600, 6_000, 60_000])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_batch_fits_and_warm_up_ends(images: int, devices: int) -> None:
    cfg = values(images, 28, f"devices={devices}", "accelerator=cpu")
    kept = images * (1 - cfg.data.validation_fraction) + 10
    assert 1 <= cfg.optimizer.batch_size * devices <= kept
    assert cfg.scheduler.warmup_epochs < cfg.max_epochs
    assert cfg.optimizer.effective_lr == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.slow
def test_more_images_get_fewer_epochs_larger_batches_and_larger_networks() -> None:
    few, some, many = (values(number, 224) for number in (60, 6_000, 600_000))
    assert few.max_epochs > some.max_epochs >= many.max_epochs
    assert few.optimizer.batch_size < some.optimizer.batch_size
    assert [cfg.augmentations[0].crop_size for cfg in (few, some, many)] == [96, 96, 224]
    assert few.backbone.name != many.backbone.name


@pytest.mark.parametrize(("side", "size"), [(1, 8), (8, 8), (28, 28), (30, 28), (5_000, 96)])
def test_views_are_no_larger_than_the_images_can_fill(side: int, size: int) -> None:
    assert values(100, side).augmentations[0].crop_size == size


@pytest.mark.parametrize("optimizer", ["lars", "sgd"])
def test_a_rate_suits_its_optimizer(optimizer: str) -> None:
    cfg = values(600, 28, f"optimizer.name={optimizer}")
    assert cfg.optimizer.lr >= 0.1 and cfg.optimizer.classifier_lr == 0.1


@pytest.mark.slow
def test_nothing_is_held_out_where_there_is_another_test_set_or_no_label(photos: Photos) -> None:
    folder = photos(30)
    assert values(600, 28, has_val=True).data.validation_fraction == 0
    assert chosen(folder, f"data.val_path={folder}")[0].data.validation_fraction == 0
    assert chosen(folder, "data.no_labels=true")[0].data.validation_fraction == 0


def test_the_sides_are_those_of_the_images_that_can_be_read(photos: Photos) -> None:
    folder = photos(12, size=(50, 41))
    (folder / "a" / "0000.png").write_bytes(b"no image")
    assert Facts.of(open_data(composed(folder).data), composed(folder).data).side == 41


def test_any_data_set_takes_null() -> None:
    cfg = resolve(compose_config(["data=digits", "optimizer.batch_size=null"]))
    assert completed(cfg, open_data(cfg.data))[0].optimizer.batch_size == 256


@pytest.mark.slow
def test_a_batch_set_too_large_ends_in_the_cure(photos: Photos) -> None:
    cfg, _ = chosen(photos(30), "optimizer.batch_size=256")
    with pytest.raises(UserError, match=r"optimizer.batch_size=\d+ or less; null chooses it"):
        build_data(cfg)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.parametrize("words", [("mae", "decoder_depth=1"), ("wmse", "proj_output_dim=8")])
def test_methods_with_needs_of_their_own_train_on_a_folder(
    photos: Photos, tmp_path: Path, words: tuple[str, str]
) -> None:
    method, key = words
    given = [f"data={photos(240, size=(8, 8))}", f"method={method}", f"method_kwargs.{key}"]
    given += [f"runs_dir={tmp_path / 'runs'}", "max_epochs=1", "data.num_workers=0"]
    run = pretrain(compose_config([*given, "evaluation.pictures=false", "accelerator=cpu"]))
    result = run.read_result()
    assert result is not None and result["steps"] > 0


@pytest.mark.slow
def test_a_folder_and_nothing_else_trains_and_is_measured(
    photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"data={photos(60)}", f"runs_dir={tmp_path / 'runs'}", "max_epochs=2"]
    words += ["data.num_workers=0", "evaluation.pictures=false", "accelerator=cpu"]
    run = pretrain(compose_config(words))
    out = capsys.readouterr().out
    result = run.read_result()
    assert result is not None and result["split"] == "validation" and result["test_images"] == 18
    assert "chosen by the 60 images" in out and "± is the standard error" in out
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 and lines[0].startswith("epoch 1/2  loss ")
    assert "online probe train" in lines[0] and lines[0].endswith(" left")
    resolved = run.read_config()
    assert not undecided(resolved) and resolved.optimizer.name == "adamw"
    assert LoadedRun(run.path).recipe()  # config.yaml, with its nulls, still leads to this run
    assert "2 runs of a" in str(runs_table({run.path: "a b", tmp_path: "a c"}).title)
