"""A run that starts from a file of weights: named by its content, opened without it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console
from torch import nn

from solo_registry.backbones import build_backbone
from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.evaluation.classifier import Recipe
from solo_registry.evaluation.classify import classify
from solo_registry.evaluation.run import evaluate_again
from solo_registry.export.folder import export_run
from solo_registry.inference.encoder import Encoder
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.model import build_method

QUIET = Console(quiet=True)
Tiny = Callable[..., DictConfig]


def saved(cfg: DictConfig, path: Path, seed: int = 0) -> nn.Module:
    """Write weights of the config's backbone as another program would, and return the backbone."""
    torch.manual_seed(seed)
    size = cfg.augmentations[0].crop_size
    backbone = build_backbone(
        cfg.backbone.name, in_channels=1, image_size=size, **cfg.backbone.get("kwargs", {})
    )
    torch.save({"state_dict": backbone.state_dict(), "epoch": 3}, path)
    return backbone


def same(a: nn.Module, b: nn.Module) -> bool:
    others = b.state_dict()
    return all(torch.equal(value, others[name]) for name, value in a.state_dict().items())


def test_the_content_names_the_run_and_not_the_place(tiny: Tiny, tmp_path: Path) -> None:
    plain = tiny("simclr")
    for number, name in enumerate(("a.pth", "b.pth")):
        saved(plain, tmp_path / name, seed=number)
    shutil.copy(tmp_path / "a.pth", tmp_path / "c.pth")
    names = {
        name: config_hash(resolve(tiny("simclr", f"backbone.weights={tmp_path}/{name}.pth")))
        for name in "abc"
    }
    assert names["a"] == names["c"] != names["b"]
    assert config_hash(resolve(plain)) not in names.values()
    with pytest.raises(UserError, match=r"backbone\.weights=.*nowhere\.pth"):
        resolve(tiny("simclr", "backbone.weights=nowhere.pth"))


@pytest.mark.parametrize("method", ["simclr", "mocov2plus", "dino"])
def test_backbone_and_momentum_copy_begin_with_the_file(
    tiny: Tiny, tmp_path: Path, method: str
) -> None:
    path = tmp_path / "start.pth"
    theirs = saved(tiny(method), path)
    cfg = resolve(tiny(method, f"backbone.weights={path}"))
    model = build_method(cfg, build_data(cfg))
    assert same(theirs, model.backbone)
    if hasattr(model, "momentum_backbone"):
        assert same(theirs, model.momentum_backbone)
    torch.save({"conv1.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match="has changed since"):
        build_method(cfg, build_data(cfg))
    cfg = resolve(tiny(method, f"backbone.weights={path}"))
    with pytest.raises(UserError, match="does not fit this backbone"):
        build_method(cfg, build_data(cfg))


@pytest.mark.slow
def test_a_finished_run_does_without_the_file(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "start.pth"
    theirs = saved(tiny("simclr"), path)
    quick = ("max_epochs=1", "evaluation.linear=false", "evaluation.pictures=false")
    out = io.StringIO()
    run = pretrain(tiny("simclr", f"backbone.weights={path}", *quick), Console(file=out, width=170))
    assert "initial weights" in out.getvalue() and "untrained" not in out.getvalue()
    assert set(run.read_result()["results"]) == {"raw_pixels", "initial_weights", "trained"}  # type: ignore[index]
    opened = LoadedRun(run.path)
    assert same(theirs, opened.untrained().backbone)
    assert opened.recipe()
    path.unlink()
    encoder = Encoder(LoadedRun(run.path), "cpu")
    assert not same(theirs, encoder.model.backbone)
    assert (export_run(run.path, "torch", None, QUIET) / "backbone.pt").exists()
    brief = Recipe(frozen=True, epochs=1, lr=0.1)
    assert classify(run.path, brief, QUIET)["acc1"] >= 0
    with pytest.raises(UserError, match=r"start\.pth"):
        classify(run.path, Recipe(frozen=True, epochs=1, lr=0.1, pretrained=False), QUIET)
    with pytest.warns(UserWarning, match="the row initial weights is left out"):
        again = evaluate_again(run.path, {"knn_k": 3}, QUIET)
    assert set(again["results"]) == {"raw_pixels", "trained"}
