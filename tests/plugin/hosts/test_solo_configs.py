"""The recipes for solo-learn's scripts: composed, run here too, and compared with its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir, initialize_config_module
from omegaconf import OmegaConf

from solo_dyntemp.hosts.found import solo_learn
from solo_registry.config.resolve import resolve

ROOT = Path(__file__).parents[3] / "configs" / "solo_learn"
RECIPES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix()
    for path in ROOT.glob("solo/*/*_dyntemp*.yaml")
)
BASELINES = [name for name in RECIPES if not name.endswith("_paper")]
FOLDER = solo_learn()
# where a recipe may differ from solo-learn's: what is compared (name, temperature), where files lie
# (its own CIFAR recipes name ImageNet-100's folder), where it logs, and its unsafe resuming
MAY_DIFFER = {
    "name", "method", "method_kwargs.temperature", "method_kwargs.tau_min", "method_kwargs.tau_max",
    "data.train_path", "data.val_path", "wandb.enabled", "wandb.entity", "wandb.project",
    "auto_resume.enabled",
}  # fmt: skip


def recipe(name: str) -> Any:
    with initialize_config_module("solo_dyntemp.solo_configs", version_base="1.2"):
        return compose(name)


def flat(cfg: Any, prefix: str = "") -> dict[str, Any]:
    """Every leaf with its path, lists too."""
    node = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else cfg
    if not isinstance(node, dict | list) or not node:
        return {prefix: node}
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    return {k: v for key, value in pairs for k, v in flat(value, f"{prefix}.{key}").items()}


def leaves(cfg: Any) -> dict[str, Any]:
    return {key.removeprefix("."): value for key, value in flat(cfg).items()}


def test_each_method_with_a_baseline_has_its_recipes() -> None:
    methods = ["mocov2plus", "mocov3", "nnclr", "simclr", "supcon"]
    expected = [f"solo/{folder}/{method}_dyntemp" for folder in ("cifar", "imagenet-100")
                for method in methods]  # fmt: skip
    assert sorted([*expected, "solo/imagenet/mocov2plus_dyntemp"]) == BASELINES
    assert len(RECIPES) == len(BASELINES) + 3


@pytest.mark.parametrize("name", RECIPES)
def test_each_composes_resolves_here_and_names_itself(name: str) -> None:
    cfg = recipe(name)
    assert cfg.name.startswith(Path(name).name)
    text = (ROOT / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"--config-name {name} " in text
    here = {"data": {"dataset": "custom", "format": "image_folder"}, "devices": 1}
    resolved = resolve(OmegaConf.merge(cfg, here))
    assert resolved.method == cfg.method == Path(name).name.removesuffix("_paper")
    assert (resolved.data.num_large_crops, resolved.data.num_small_crops) == (2, 0)
    assert resolved.method_kwargs.tau_max == 0.2


@pytest.mark.parametrize(
    ("name", "rate"), [("cifar", 0.2), ("imagenet-100", 1.2), ("imagenet", 1.2)]
)
def test_the_papers_recipes_have_its_learning_rate(name: str, rate: float) -> None:
    cfg = recipe(f"solo/{name}/simclr_dyntemp_paper")
    images = cfg.optimizer.batch_size * len(cfg.devices)
    assert cfg.optimizer.lr * images / 256 == pytest.approx(rate)


@pytest.mark.solo
@pytest.mark.skipif(FOLDER is None, reason="solo-learn is not on the path")
@pytest.mark.parametrize("name", BASELINES)
def test_only_the_temperature_differs_from_solo_learns_recipe(name: str) -> None:
    assert FOLDER is not None
    _, folder, method = name.split("/")
    scripts = FOLDER.parent / "scripts" / "pretrain" / folder
    with initialize_config_dir(str(scripts), version_base="1.2"):
        theirs = leaves(compose(method.removesuffix("_dyntemp")))
    ours = leaves(recipe(name))
    different = {key for key in theirs | ours if theirs.get(key) != ours.get(key)}
    assert different <= MAY_DIFFER
    assert {"method", "method_kwargs.temperature", "method_kwargs.tau_min"} <= different
