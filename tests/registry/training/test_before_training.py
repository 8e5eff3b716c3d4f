"""What cannot be trained is said before training: batches of one image, loggers without account."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from omegaconf import DictConfig
from PIL import Image
from rich.console import Console

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.jobs.pretrain import pretrain

Tiny = Callable[..., DictConfig]
FEW = ("optimizer.batch_size=1", "data.fraction=0.01", "max_epochs=1", "evaluation.enabled=false")
WITH_ONE = {"dino", "mae", "mocov2plus", "mocov2plus_dyntemp", "ressl"}


@pytest.mark.parametrize("name", ["simclr", "byol", "vicreg", "hcl", "dcl_dyntemp"])
def test_a_method_that_compares_images_refuses_a_batch_of_one(tiny: Tiny, name: str) -> None:
    with pytest.raises(UserError, match=r"optimizer\.batch_size=1: .*compares the images"):
        resolve(tiny(name, *FEW))
    resolve(tiny(name, *FEW, "devices=2"))  # whose images are compared as well


def test_the_methods_that_learn_from_one_image_say_so() -> None:
    own = {name for name in METHODS if not name.startswith("solo/")}
    assert {name for name in own if METHODS.get(name).ONE_IMAGE} == WITH_ONE


@pytest.mark.parametrize("name", ["mocov2plus", "ressl"])
def test_batch_norm_refuses_a_batch_of_one(tiny: Tiny, name: str) -> None:
    given = tiny(name, *FEW)
    with pytest.raises(UserError, match=r"batch_size=1: BatchNorm \(backbone\.bn1\) needs"):
        pretrain(given)
    assert not Path(given.runs_dir).exists()


@pytest.mark.slow
def test_without_batch_norm_a_batch_of_one_trains(tiny: Tiny) -> None:
    vit = {"depth": 1, "embed_dim": 16, "num_heads": 2, "patch_size": 4}
    given = tiny("mocov2plus", *FEW, "telemetry.every_n_epochs=0")
    given.backbone = {"name": "vit_tiny", "kwargs": vit}
    assert pretrain(given).checkpoint.exists()


@pytest.mark.slow
def test_fine_tuning_refuses_a_batch_of_one(tiny: Tiny) -> None:
    run = pretrain(tiny("simclr", "max_epochs=1", "evaluation.enabled=false"))
    recipe = Recipe(frozen=False, epochs=1, lr=0.1, batch_size=1)
    with pytest.raises(UserError, match=r"--batch-size .*=1: BatchNorm"):
        classify(run.path, recipe, Console(quiet=True))


def images(folder: Path, count: int) -> str:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return str(folder.parent)


@pytest.mark.slow
def test_one_validation_image_is_refused_and_a_rest_of_one_is_fine(
    tiny: Tiny, tmp_path: Path
) -> None:
    train = images(tmp_path / "train" / "a", 4)
    words = ["data.dataset=custom", f"data.train_path={train}", "optimizer.batch_size=2"]
    words += ["max_epochs=1", "data.no_labels=true", "telemetry.every_n_epochs=0"]
    one = f"data.val_path={images(tmp_path / 'one' / 'a', 1)}"
    with pytest.raises(UserError, match="has 1 image to measure"):
        pretrain(tiny("simclr", *words, one))
    assert not (tmp_path / "runs").exists()
    assert pretrain(tiny("simclr", *words, one, "evaluation.enabled=false")).checkpoint.exists()
    three = f"data.val_path={images(tmp_path / 'three' / 'a', 3)}"  # batches of 2 and of 1
    assert pretrain(tiny("simclr", *words, three)).read_result() is not None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["errors", "from inside"])
def test_wandb_without_account_or_network_is_a_paragraph(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """wandb raises errors of its own, and others (such as ValueError for a malformed key)."""
    module = types.ModuleType("wandb.errors")
    exec("class UsageError(Exception): pass\ndef fail(error): raise error", module.__dict__)
    error: Any = module.UsageError if kind == "errors" else ValueError

    def log_in(self: Any, *_: Any, **__: Any) -> None:
        module.fail(error("api_key not configured (no-tty)"))

    wandb: Any = types.ModuleType("wandb")
    wandb.setup = lambda: types.SimpleNamespace(settings=types.SimpleNamespace(base_url=server))
    server = "http://127.0.0.1:9"  # nobody listens
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with pytest.raises(UserError, match=r"wandb: http://127.0.0.1:9 does not answer"):
        pretrain(tiny("simclr", "logger=wandb"))
    monkeypatch.setattr(WandbLogger, "__init__", log_in)
    given = tiny("simclr", "logger=wandb", "wandb.offline=true")
    with pytest.raises(UserError, match=r"api_key not configured .*wandb\.offline=true"):
        pretrain(given)
    monkeypatch.setattr(WandbLogger, "__init__", lambda *_, **__: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        pretrain(given)  # no error of wandb's
