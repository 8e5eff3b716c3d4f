"""Running this file writes defaults.json anew, where keys were added."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_registry.catalog.kwargs import default_kwargs
from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS
from solo_registry.config import identity
from solo_registry.config.hints import known_keys
from solo_registry.config.identity import OUTSIDE_HASH, config_hash, is_named, settings_hash
from solo_registry.config.resolve import resolve

Tiny = Callable[..., DictConfig]
DEFAULTS = Path(__file__).with_name("defaults.json")


def current_defaults() -> dict[str, Any]:
    """Every default that a hash leaves out."""
    own = [name for name in METHODS if not name.startswith("solo/")]
    methods = {name: default_kwargs(METHODS.get(name)) for name in own}
    schema = json.loads(json.dumps(identity._defaults()))
    return {"version": identity.DEFAULTS_VERSION, "schema": schema, "methods": methods}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {k: v for key, value in tree.items() for k, v in flat(value, f"{prefix}/{key}").items()}


def test_no_default_changes_without_a_new_version() -> None:
    """A run at the old default and one at the new would share a folder."""
    now = flat(json.loads(json.dumps(current_defaults())))
    then = flat(json.loads(DEFAULTS.read_text()))
    changed = {key for key in then.keys() & now.keys() if then[key] != now[key]}
    assert not changed or "/version" in changed, "raise identity.DEFAULTS_VERSION"
    assert then == now, "defaults were added: run this file by python"


def test_a_key_at_its_default_is_not_hashed(tiny: Tiny) -> None:
    """So a key that does not exist yet changes no hash."""
    cfg = resolve(tiny("simclr_dyntemp"))
    older = OmegaConf.create(OmegaConf.to_container(cfg))
    del older.gradient_clip_val, older.data.on_error, older.data.long_tail, older.telemetry
    del older.method_kwargs.detach_temperature, older.augmentations[0].solarization
    assert config_hash(older) == config_hash(cfg)
    older.data.on_error = "skip"
    assert config_hash(older) != config_hash(cfg)


@pytest.mark.parametrize(
    "word",
    [
        "momentum.base_tau=0.9",
        "backbone.kwargs.channels=[8,8,16,8]",
        "data.long_tail.factor=0.1",
        "data.copies=2",
        "method_kwargs.temperature_kwargs.shift=-0.3",
        "scheduler.lr_decay_steps=[3]",
        "data.digest=d1",
    ],
)
def test_every_kind_of_value_counts(tiny: Tiny, word: str) -> None:
    words = ("method_kwargs.temperature=shifted_cosine", "method_kwargs.tau_max=0.15")
    words += ("data.digest=d0",)
    base, other = (resolve(tiny("simclr_dyntemp", *words, *more)) for more in ((), (word,)))
    assert config_hash(base) != config_hash(other)
    assert (settings_hash(base) == settings_hash(other)) is ("digest" in word)


def test_every_pipeline_counts(tiny: Tiny) -> None:
    pipelines = [{"crop_size": 8}, {"crop_size": 8, "mean": [0.5]}]
    other = [{"crop_size": 8, "rrc": {"crop_max_scale": 0.9}}, {"crop_size": 8, "mean": [0.5]}]
    turned = pipelines[::-1]
    lists = (pipelines, other, turned, [*pipelines, *pipelines])
    assert len({config_hash(resolve(tiny("simclr", augmentations=given))) for given in lists}) == 4


def test_a_key_that_leaves_the_hash_leaves_older_runs_known(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    default, other = (resolve(tiny("simclr", f"benchmark={value}")) for value in ("null", "true"))
    names = [config_hash(default), config_hash(other)]
    monkeypatch.setitem(OUTSIDE_HASH, "benchmark", 2)
    assert config_hash(default) == config_hash(other) == names[0]
    assert is_named(default, names[0]) and is_named(other, names[1])
    assert not is_named(default, names[1])


def test_how_many_devices_counts_and_not_which(tiny: Tiny) -> None:
    one = {config_hash(resolve(tiny("simclr", devices=devices))) for devices in (1, "1", "3,", [2])}
    two = {config_hash(resolve(tiny("simclr", devices=devices))) for devices in (2, [0, 3], "1,2")}
    assert len(one) == len(two) == 1 and one != two


def test_keys_outside_the_hash_exist() -> None:
    assert set(OUTSIDE_HASH) <= set(known_keys())


def test_the_place_of_the_data_is_not_hashed(tiny: Tiny, tmp_path: Path) -> None:
    listed = tmp_path / "classes.txt"
    words = ("data.train_path=a/b", "data.val_path=~/c", f"data.class_list={listed}")
    here, there = resolve(tiny("simclr")), resolve(tiny("simclr", *words))
    assert config_hash(here) == config_hash(there)
    assert there.data.train_path == str(Path("a/b").absolute())
    assert there.data.val_path == str(Path("~/c").expanduser())


if __name__ == "__main__":
    load_plugins()
    DEFAULTS.write_text(json.dumps(current_defaults(), indent=1, sort_keys=True) + "\n")
