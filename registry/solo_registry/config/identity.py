"""What names a run: a hash of every setting that its numbers depend on, its data included."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from solo_registry.catalog.kwargs import default_kwargs
from solo_registry.catalog.registry import METHODS
from solo_registry.config.data_schema import AugmentationConfig
from solo_registry.config.devices import read_devices
from solo_registry.config.schema import PretrainConfig

# Part of every hash. Raise it when a default changes: a setting at its default is not hashed.
DEFAULTS_VERSION = 1
# Keys that a run's numbers do not depend on, and the rule from which on they are left out. A key
# that joins gets the next number, so that a run that was named with it is still recognised.
OUTSIDE_HASH = dict.fromkeys(
    (
        "name",
        "seed",
        "runs_dir",
        "resume_from_checkpoint",
        "checkpoint",
        "auto_resume",
        "auto_umap",
        "logger",
        "wandb",
        "progress",
        "evaluation",
        "telemetry",
        "debug_augmentations",
        "log_every_n_steps",
        "timeout_minutes",
        "data.num_workers",
        "data.download",
        "data.check_files",
        "data.stream_cache_gb",
        # what lies there counts, by data.digest and data.long_tail.index_hash, and not the place
        "data.train_path",
        "data.val_path",
        "data.class_list",
        "data.long_tail.index_file",
        "backbone.weights",  # backbone.weights_digest counts
        # known only when the data are loaded
        "data.image_channels",
        "data.num_classes",
        "data.train_images",
    ),
    1,
)


Settings = DictConfig | dict[str, Any]  # a config, or what it holds with every ${...} replaced


def config_hash(cfg: Settings, rule: int | None = None) -> str:
    """Ten hex digits that name everything in a resolved config that its numbers depend on.

    Only what differs from the defaults is hashed, so a new key changes no hash.

    Args:
        cfg: the resolved config; keys that it lacks, as one of an older version, are at their
            defaults.
        rule: which keys of `OUTSIDE_HASH` are left out: those up to this number; None is all.

    Raises:
        UserError: the method is unknown.
    """
    plain: Any = (
        copy.deepcopy(cfg) if isinstance(cfg, dict) else OmegaConf.to_container(cfg, resolve=True)
    )
    for key, since in OUTSIDE_HASH.items():
        if rule is None or since <= rule:
            _drop(plain, key.split("."))
    devices = read_devices(plain.get("devices", 1))
    plain["devices"] = len(devices) if isinstance(devices, list) else devices  # not which
    known = default_kwargs(METHODS.get(plain["method"]))
    differences = _differences(plain, _defaults() | {"method_kwargs": known})
    text = json.dumps({"defaults": DEFAULTS_VERSION, **differences}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def settings_hash(cfg: DictConfig) -> str:
    """Return the hash of a resolved config without its data's digest: the same on any data."""
    other = cfg.copy()
    other.data.digest = None
    return config_hash(other)


def names_of(cfg: Settings) -> list[str]:
    """Return the hashes of a resolved config: by today's rule, then by earlier ones."""
    rules = sorted({*OUTSIDE_HASH.values()}, reverse=True)
    return list(dict.fromkeys(config_hash(cfg, rule) for rule in rules))


def is_named(cfg: Settings, name: str) -> bool:
    """Whether `name` is the hash of a resolved config, by today's rule or an earlier one."""
    return name in names_of(cfg)


@functools.cache
def _defaults() -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(OmegaConf.structured(PretrainConfig))
    plain["augmentations"] = OmegaConf.to_container(OmegaConf.structured(AugmentationConfig))
    return cast(dict[str, Any], plain)


def _differences(given: Any, default: Any) -> Any:
    """Return what of `given` is not at its default; the default of a list is that of its items."""
    if isinstance(given, dict) and isinstance(default, dict) and default:
        parts = {
            key: _differences(value, default.get(key))
            for key, value in given.items()
            if key not in default or value != default[key]
        }
        return {key: part for key, part in parts.items() if part != {}}
    if isinstance(given, list) and isinstance(default, dict):
        return [_differences(item, default) for item in given]
    return given


def _drop(plain: dict[str, Any], path: list[str]) -> None:
    """Remove a key from nested dicts, where it is."""
    *nodes, leaf = path
    for node in nodes:
        plain = plain.get(node) or {}
    plain.pop(leaf, None)
