"""From what the user wrote to a config that a run can trust: checks, defaults, derived values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_registry.catalog.declared import shown
from solo_registry.catalog.registry import DATASETS, METHODS
from solo_registry.config.devices import count_devices, count_processes
from solo_registry.config.hints import known_keys, unknown_key
from solo_registry.config.index_file import index_hash, read_indices
from solo_registry.config.keys import check_keys, check_sections
from solo_registry.config.optional import import_umap
from solo_registry.config.own_data import is_address
from solo_registry.config.schema import PRECISION_OF, EvaluationConfig, PretrainConfig
from solo_registry.config.text_file import file_digest, leaves, refuse_resolvers
from solo_registry.config.undecided import undecided
from solo_registry.errors import UserError, nearest

T = TypeVar("T")
NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
LONGEST_PART = 255  # bytes of a name that file systems allow
LONGEST_NAME = 200  # leaves room for what is added to it, as ".lock"
# in one of solo-learn's YAML files, and read by nobody there
STALE = ("augmentations_cfg", "wandb_cfg")
# paths of the data; kept absolute, so that a run is opened from any folder
DATA_PATHS = ("train_path", "val_path", "class_list")


def read_section(name: str, schema: type[T], node: Any, changes: Sequence[str] = ()) -> T:
    """Read a section that may be partial, with the user's changes; absent keys get their defaults.

    Args:
        name: the section, for error texts.
        schema: its dataclass.
        node: its YAML, or a mapping.
        changes: overrides such as `tuning.seeds=[7,8]`.

    Raises:
        UserError: an unknown key, or a value that the key does not take; the nearest right key is
            named.
    """
    try:
        given = OmegaConf.from_dotlist(list(changes))
        merged = OmegaConf.merge(OmegaConf.structured(schema), node, given)
        section = cast(T, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = str(error.full_key or error.key)
        reason = str(error).splitlines()[0]
        known = known_keys(schema)
        hint = "" if key in known else nearest(key, known)
        raise UserError(f"{name}.{key}: {reason}.{hint}") from error
    check_keys(section, schema, f"{name}.")
    return section


@cache
def schema_node() -> DictConfig:
    """Return the schema's defaults as a node, which nobody changes; to make it takes long."""
    return cast(DictConfig, OmegaConf.structured(PretrainConfig))


def merge_schema(cfg: DictConfig) -> DictConfig:
    """Lay `cfg` over the schema's defaults, as a copy.

    solo-learn's YAML writes None as text; it is read as null. Some of its augmentations have
    `enabled` beside `prob`, without meaning there; here false is a `prob` of 0.

    Raises:
        UserError: an unknown key or a value of the wrong type.
    """

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            if "prob" in value and not value.get("enabled", True):
                value = value | {"prob": 0.0}
            left_out = {"hydra", "enabled"} if "prob" in value else {"hydra"}
            return {key: clean(item) for key, item in value.items() if key not in left_out}
        if isinstance(value, list):
            return [clean(item) for item in value]
        return None if value == "None" else value

    written: Any = OmegaConf.to_container(cfg)
    refuse_resolvers(written, "the config")  # of a run folder perhaps, so of another person
    plain = clean(OmegaConf.to_container(settled(cfg.copy())))
    for key in STALE:
        if plain.pop(key, None) is not None:
            warnings.warn(f"{key} is not used, by solo-learn neither", stacklevel=2)
    check_sections(plain, PretrainConfig)
    try:
        merged = OmegaConf.merge(schema_node(), plain)  # which copies the first
    except OmegaConfBaseException as error:
        raise explain(error) from error
    missing = sorted(OmegaConf.missing_keys(cfg) | OmegaConf.missing_keys(merged))
    if missing:
        raise UserError(f"the config gives no value for {', '.join(missing)}")
    merged.precision = PRECISION_OF.get(str(merged.precision), merged.precision)
    OmegaConf.set_struct(merged, True)
    return merged  # type: ignore[return-value]


def settled(cfg: DictConfig) -> DictConfig:
    """Replace every interpolation by its value, in place: what a run writes are values alone.

    Raises:
        UserError: a `${...}` has no value, or one of another type than its key.
    """
    try:
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        plain = OmegaConf.to_container(cfg)
        for name, value in leaves(plain):
            try:
                OmegaConf.select(cfg, name)  # the first error does not name its key
            except OmegaConfBaseException as cause:
                reason = str(cause).splitlines()[0]
                raise UserError(
                    f"{name}={value}: {reason}. ${{KEY}} is the value of another key of the "
                    "config, ${oc.env:NAME} that of an environment variable"
                ) from error
        used = [f"{name}={value}" for name, value in leaves(plain) if "${" in str(value)]
        raise UserError(f"{' or '.join(used)}: {str(error).splitlines()[0]}") from error
    return cfg


def explain(error: OmegaConfBaseException) -> UserError:
    """Turn OmegaConf's error into one sentence."""
    key = str(error.full_key or error.key or "")
    if "not in" in str(error):  # a schema's "Key not in", or a struct's "not in struct"
        parent = error.parent_node
        root: Any = None if parent is None else parent._get_root()
        method = root.get("method") if isinstance(root, DictConfig) else None
        siblings = map(str, parent) if isinstance(parent, DictConfig) else ()
        return unknown_key(key, siblings, str(method or ""))
    return UserError(f"config key '{key}': {str(error).splitlines()[0]}")


def check(cfg: DictConfig) -> None:
    """Refuse values that no run can use, before any work starts."""
    check_keys(cfg, PretrainConfig)
    require_map(cfg.evaluation)
    if cfg.scheduler.name == "step" and not cfg.scheduler.lr_decay_steps:
        raise UserError("scheduler.name=step needs scheduler.lr_decay_steps, a list of epochs")
    if not cfg.augmentations:
        raise UserError(
            "augmentations is empty: choose a group option, e.g. augmentations=symmetric32"
        )
    METHODS.get(cfg.method)
    DATASETS.get(cfg.data.dataset)


def check_evaluation(evaluation: DictConfig) -> None:
    """Refuse settings of the `evaluation` section that cannot work, a missing package included."""
    check_keys(evaluation, EvaluationConfig, "evaluation.")
    require_map(evaluation)


def require_map(evaluation: DictConfig) -> None:
    """Ask for the package that draws the map of the features, where one is drawn."""
    if evaluation.map == "umap" and evaluation.enabled and evaluation.pictures:
        import_umap()


def resolve(cfg: DictConfig) -> DictConfig:
    """Check `cfg` and fill in what follows from it; the config given is not changed.

    `optimizer.lr` stays as written; `optimizer.effective_lr` is what the optimizer gets:
    lr x images per optimizer step / 256, over all processes and accumulated batches.
    docs/solo_learn.md says where solo-learn scales otherwise.

    Keys that are left to the images stay null, and so does what follows from them: see
    `data.from_images`.

    Raises:
        UserError: whatever cannot work, with the key, the value and what is allowed.
    """
    cfg = merge_schema(cfg)
    check(cfg)
    expand_paths(cfg)
    left = undecided(cfg)
    for key, value in left.items():
        OmegaConf.update(cfg, key, value)
    if "optimizer.batch_size" not in left:
        check_micro_batches(cfg)
    images = cfg.optimizer.batch_size * count_processes(cfg) * cfg.accumulate_grad_batches
    cfg.optimizer.effective_lr = cfg.optimizer.lr * images / 256
    cfg.optimizer.effective_classifier_lr = cfg.optimizer.classifier_lr * images / 256
    size = cfg.augmentations[0].crop_size
    crops = [(pipeline.crop_size == size, pipeline.num_crops) for pipeline in cfg.augmentations]
    cfg.data.num_large_crops = sum(count for large, count in crops if large)
    cfg.data.num_small_crops = sum(count for large, count in crops if not large)
    listed = cfg.data.long_tail.index_file
    cfg.data.long_tail.index_hash = listed and index_hash(read_indices(Path(listed)))
    start = cfg.backbone.weights
    cfg.backbone.weights_digest = start and file_digest(start, "backbone.weights")
    cfg.name = cfg.name or f"{cfg.method}-{cfg.data.dataset}".replace("/", "-")
    check_name(cfg.name)
    cfg.strategy = cfg.strategy or "auto"
    resolved: DictConfig = METHODS.get(cfg.method).add_and_assert_specific_cfg(cfg)
    rates = ("optimizer.effective_lr", "optimizer.effective_classifier_lr")
    for key in (*left, *rates) if left else ():
        OmegaConf.update(resolved, key, None)
    return resolved


def check_micro_batches(cfg: DictConfig) -> None:
    """Refuse micro-batches that do not make up a batch.

    Raises:
        UserError: they do not, or BatchNorm is to see several processes in each of them.
    """
    batch, size = cfg.optimizer.batch_size, cfg.optimizer.micro_batch_size
    if size is None:
        return
    if batch % size:
        near = max(part for part in range(1, min(size, batch) + 1) if batch % part == 0)
        raise UserError(
            f"optimizer.micro_batch_size={size} must divide optimizer.batch_size={batch}: "
            f"{near} does"
        )
    if cfg.sync_batchnorm and count_processes(cfg) > 1:
        raise UserError(
            "sync_batchnorm=true exchanges statistics in every forward pass, and "
            f"optimizer.micro_batch_size={size} makes some of these in the backward pass, where "
            "gradients are exchanged: give one of the two"
        )


def check_name(name: str) -> None:
    """Refuse a name that is not that of one folder, right in `runs_dir`.

    >>> check_name("../mine")
    Traceback (most recent call last):
        ...
    solo_registry.errors.UserError: name='../mine' is not the name of a folder: ...
    """
    if not NAME.fullmatch(name) or len(name.encode()) > LONGEST_NAME:
        raise UserError(
            f"name={name!r} is not the name of a folder: it may have no slash and no control "
            f"character, not begin with a dot, and have at most {LONGEST_NAME} bytes"
        )


def expand_paths(cfg: DictConfig) -> None:
    """Put the home folder in place of `~` in every path; make those of inputs absolute.

    Raises:
        UserError: a path is empty.
    """
    nodes = [(cfg.data, key, f"data.{key}") for key in DATA_PATHS]
    nodes.append((cfg.data.long_tail, "index_file", "data.long_tail.index_file"))
    nodes.append((cfg.backbone, "weights", "backbone.weights"))
    for node, key, name in nodes:
        if node[key] is not None and not is_address(node[key]):
            node[key] = str(Path(expanded(name, node[key])).absolute())
    for key in ("runs_dir", "resume_from_checkpoint"):
        if cfg[key] is not None:
            cfg[key] = expanded(key, cfg[key])


def expanded(key: str, path: str) -> str:
    """Return a path of the user's with the home folder in place of `~`.

    Args:
        key: what gave it.
        path: as written.

    Raises:
        UserError: it is empty, a name in it is too long, or the home folder is unknown.

    >>> expanded("runs_dir", "runs")
    'runs'
    """
    if not path.strip():
        raise UserError(f"{key} is empty: give a path, or leave {key} out")
    if any(len(part.encode()) > LONGEST_PART for part in Path(path).parts):
        raise UserError(f"{key}={shown(path)}: a name in it has over {LONGEST_PART} bytes")
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise UserError(f"{key}={path}: {error}") from error


def lr_product(cfg: DictConfig) -> str:
    """Spell the effective learning rate as the product it is."""
    optimizer = cfg.optimizer
    return (
        f"effective lr {optimizer.effective_lr:g} = {optimizer.lr:g} "
        f"x {optimizer.batch_size} images x {count_devices(cfg)} devices x {cfg.num_nodes} nodes "
        f"x {cfg.accumulate_grad_batches} accumulated / 256"
    )
