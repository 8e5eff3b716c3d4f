"""Every YAML under configs/ composes and resolves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from solo_registry.catalog.registry import DATASETS, METHODS
from solo_registry.config.compose import register_configs
from solo_registry.config.resolve import resolve, schema_node
from solo_registry.config.undecided import undecided
from solo_registry.data.augment import Views
from solo_registry.data.sets import SetInfo
from solo_registry.optimizers import build_optimizer

ROOT = Path(__file__).parents[2] / "configs"
# those that need solo-learn have their tests in tests/plugin/hosts
FILES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.yaml")
    if not {"solo", "solo_learn"} & set(path.relative_to(ROOT).parts)
)
APART = ("suite", "space")  # no part of a run's config
GROUP_FILES = [(p.parts[1], p.stem) for p in FILES if len(p.parts) == 3 and p.parts[1] not in APART]
# `make check` composes the first option of each group, `make test` all of them
FIRSTS = {group: name for group, name in reversed(GROUP_FILES)}
GROUPS = [
    pytest.param(group, name, marks=() if FIRSTS[group] == name else pytest.mark.slow)
    for group, name in GROUP_FILES
]
RECIPES = {f"{p.parts[2]}/{p.stem}": ROOT / p for p in FILES if p.parts[1] == "recipe"}
# of every optimizer and of every kind of image one; `make test-all` composes all recipes
COMPOSED = (
    "cifar/simclr_dyntemp", "cifar/byol", "cifar/mae", "cifar/dino", "cifar/tico",
    "imagenet/mocov3_dyntemp", "imagenet/swav", "imagenet/mae", "imagenet/macl", "imagenet/dino",
)  # fmt: skip
SUITES = [p.stem for p in FILES if p.parts[1] == "suite"]  # tests/registry/leaderboard has them
SPACES = [p.stem for p in FILES if p.parts[1] == "space"]  # tests/registry/sweep has them


def composed(*overrides: str):  # type: ignore[no-untyped-def]
    register_configs()
    with initialize_config_module("solo_registry.configs", version_base="1.3"):
        return compose("pretrain", overrides=list(overrides))


def own_methods() -> list[str]:
    """All but solo-learn's, which are there where it is installed."""
    return [name for name in METHODS if not name.startswith("solo/")]


def test_all_files_are_found_and_each_is_an_option_or_the_entry() -> None:
    assert len(FILES) > 150 and sorted(SUITES) == [
        "baselines",
        "decisive",
        "gpu",
        "positive_control",
        "smoke",
        "temperature",
        "upstream",
    ]
    assert sorted(SPACES) == [
        "cosine",
        "inverted_cosine",
        "monotone_cosine",
        "shifted_cosine",
        "temperature",
    ]
    # all but the recipes, the suites, the spaces and pretrain.yaml
    assert len(GROUP_FILES) + len(RECIPES) + len(SUITES) + len(SPACES) == len(FILES) - 1


def test_every_method_and_data_set_has_a_config() -> None:
    assert sorted(name for group, name in GROUP_FILES if group == "method") == own_methods()
    sets = {without_variant(name) for group, name in GROUP_FILES if group == "data"}
    assert sorted(sets) == DATASETS.names()


def without_variant(name: str) -> str:
    return (
        name.removesuffix("_lt").removesuffix("_small").removesuffix("_medium").removesuffix("_224")
    )


@pytest.mark.parametrize(("group", "name"), GROUPS)
def test_each_option_composes_and_resolves(group: str, name: str) -> None:
    overrides = [f"{group}={name}"]
    if name.startswith("custom"):
        overrides.append("data.train_path=somewhere")
    if name.startswith("reconstruction"):  # one view
        overrides.append("method=mae")
    given = composed(*overrides)
    cfg = resolve(given.copy())
    if group == "method":
        assert cfg.method == name
        assert set(given.method_kwargs) == set(METHODS.get(name).KWARGS)
    elif group == "data":
        assert cfg.data.dataset == without_variant(name)
        assert (cfg.data.long_tail.profile is not None) is name.endswith("_lt")
    elif name == "from_images":
        assert undecided(cfg) == {"augmentations.0.crop_size": 32}
    else:
        info = SetInfo("any", 1, 3, None, (0.5,) * 3, (0.5,) * 3, ("all",))
        views = Views(cfg.augmentations, info)
        assert views.num_large == cfg.data.num_large_crops
        assert views.num_small == cfg.data.num_small_crops


def test_every_method_has_a_recipe_for_small_and_for_large_images() -> None:
    expected = [f"{kind}/{name}" for kind in ("cifar", "imagenet") for name in own_methods()]
    assert sorted(RECIPES) == sorted(expected) and len(expected) == 2 * 44


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_names_its_source_and_how_to_run_it(recipe: str) -> None:
    package, *header = RECIPES[recipe].read_text(encoding="utf-8").splitlines()
    source = header[0].removeprefix("# ")
    assert package == "# @package _global_"
    named = r"arXiv \d{4}\.\d{5}|\bsolo-learn's |\blightly's |^[\w-]+/[\w-]+ \("
    assert re.search(named, source), source
    assert any(line.startswith(f"#   dyntemp pretrain recipe={recipe}") for line in header[1:5])


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_has_keys_of_the_schema_and_names_options_there_are(recipe: str) -> None:
    """As written, without composing it."""
    own = OmegaConf.to_container(OmegaConf.load(RECIPES[recipe]))
    assert isinstance(own, dict)
    options = {f"{group}: {name}" for group, name in GROUP_FILES}
    options |= {f"recipe: {name}" for name in RECIPES}
    for default in own.pop("defaults"):
        if default == "_self_":
            continue
        if isinstance(default, str):  # another recipe
            assert default.removeprefix("/recipe/") in RECIPES, default
            continue
        ((group, name),) = default.items()
        assert f"{group.removeprefix('override /')}: {name}" in options, default
        if group == "override /method":
            assert name == recipe.partition("/")[2]
    assert set(own.pop("method_kwargs", {})) <= METHODS.get(recipe.partition("/")[2]).KWARGS.keys()
    OmegaConf.merge(schema_node(), own)  # refuses an unknown key
    # a key here would beat the word for its group; `defaults` do not
    assert not {"method", "data", "augmentations"} & own.keys()


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, marks=pytest.mark.slow if recipe in COMPOSED else pytest.mark.nightly)
        for recipe in RECIPES
    ],
)
def test_each_recipe_is_a_whole_run(recipe: str) -> None:
    kind, _, method = recipe.partition("/")
    words = ["data.train_path=somewhere"] if kind == "imagenet" else []
    cfg = resolve(composed(f"recipe={recipe}", *words))
    assert cfg.method == method and cfg.augmentations[0].crop_size == {"cifar": 32}.get(kind, 224)
    assert cfg.data.dataset == {"cifar": "cifar10"}.get(kind, "custom")
    build_optimizer([{"params": torch.nn.Linear(2, 2).parameters()}], cfg)


@pytest.mark.parametrize("recipe", ["cifar/byol", "cifar/tico", "imagenet/macl"])
def test_words_beat_a_recipe(recipe: str) -> None:
    """The first stands alone, the others are composed on a recipe of their own package or not."""
    cfg = composed(
        "method=simclr_dyntemp", "data=digits", f"recipe={recipe}", "augmentations=weak32",
        "optimizer.lr=7",
    )  # fmt: skip
    assert (cfg.method, cfg.data.dataset, cfg.optimizer.lr) == ("simclr_dyntemp", "digits", 7)
    assert cfg.augmentations == composed("augmentations=weak32").augmentations


def test_the_command_line_beats_the_data_sets_choice() -> None:
    cfg = composed("data=cifar10", "augmentations=asymmetric32", "optimizer.lr=1.5")
    assert len(cfg.augmentations) == 2 and cfg.optimizer.lr == 1.5
    assert cfg.optimizer.kwargs.eta == 0.02


def test_digits_are_not_flipped() -> None:
    assert all(pipeline.horizontal_flip.prob == 0 for pipeline in composed().augmentations)
