"""Every key declares its help and its bounds, and is held to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from solo_registry.catalog.declared import LIMIT
from solo_registry.config.compose import DERIVED, hydra_args
from solo_registry.config.hints import known_keys
from solo_registry.config.identity import OUTSIDE_HASH
from solo_registry.config.keys import Key, all_keys, check_keys
from solo_registry.config.resolve import resolve, schema_node
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError

Tiny = Callable[..., DictConfig]
KEYS = [item for item in all_keys(PretrainConfig) if item.section is None]
NUMBERS = [
    item for item in KEYS
    if item.declared.type_name.startswith(("integer", "number")) and not item.declared.choices
]  # fmt: skip


def given(item: Key, number: Any) -> Any:
    """A number as the key takes it."""
    return [number] if "list" in item.declared.type_name else number


def bounds(item: Key) -> tuple[list[float], list[float]]:
    """Numbers that are just within the bounds of a key, and numbers just outside."""
    found, step = item.declared, 1 if item.declared.whole else 0
    if step:
        down, up = (lambda number: number - 1), (lambda number: number + 1)
    else:
        down, up = (lambda n: math.nextafter(n, -math.inf)), (lambda n: math.nextafter(n, math.inf))
    least = -LIMIT if found.least is None else found.least
    most = LIMIT if found.most is None else found.most
    inside = [least, most, *found.also] if found.above is None else [up(found.above), most]
    outside = [down(least), up(most)] if found.above is None else [found.above, up(most)]
    if found.below is not None:
        inside[1], outside[1] = down(found.below), found.below
    return inside, outside


@pytest.mark.parametrize("item", all_keys(PretrainConfig), ids=lambda item: item.name)
def test_every_key_has_one_line_of_help(item: Key) -> None:
    assert item.help == item.help.strip() and 0 < len(item.help) <= 100
    assert item.help.endswith(".") and "\n" not in item.help and "|" not in item.help


@pytest.mark.parametrize("item", NUMBERS, ids=lambda item: item.name)
def test_a_bound_is_allowed_and_what_is_just_outside_is_refused(item: Key) -> None:
    inside, outside = bounds(item)
    for number in inside:
        item.declared.check(item.name, given(item, number))
    numbers = outside if item.declared.whole else [*outside, math.nan, math.inf, -math.inf]
    for number in numbers:
        with pytest.raises(UserError, match=rf"{item.name} must be .*, got {number}"):
            item.declared.check(item.name, given(item, number))


def test_every_default_is_allowed() -> None:
    for item in KEYS:
        if not item.required:
            item.declared.check(item.name, item.declared.default)


@pytest.mark.parametrize(
    "item", [item for item in KEYS if item in NUMBERS or item.declared.choices],
    ids=lambda item: item.name,
)  # fmt: skip
def test_the_check_reaches_every_key(item: Key) -> None:
    views = [{"crop_size": 8}, {"crop_size": 8}]
    whole = {"method": "simclr", "data": {"dataset": "digits"}, "augmentations": views}
    cfg = OmegaConf.merge(schema_node(), whole)
    check_keys(cfg, PretrainConfig)
    path = item.name.replace("augmentations.", "augmentations.1.")
    wrong: Any = bounds(item)[1][0] if item in NUMBERS else 7
    OmegaConf.update(cfg, path, given(item, wrong))
    with pytest.raises(UserError, match=path):
        check_keys(cfg, PretrainConfig)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("gradient_clip_val=-1", "gradient_clip_val must be 0 or more and finite, got -1"),
        ("gradient_clip_val=nan", "gradient_clip_val must be 0 or more and finite, got nan"),
        ("momentum.base_tau=2", r"momentum.base_tau must be in \[0, 1\], got 2"),
        ("momentum.base_tau=-1", r"momentum.base_tau must be in \[0, 1\], got -1"),
        ("momentum.final_tau=-5", r"momentum.final_tau must be in \[0, 1\], got -5"),
        ("deterministic=abc", "deterministic is 'abc'. Allowed: true, false, warn"),
        ("deterministic=wran", "Did you mean 'warn'"),
        ("scheduler.min_lr=1e300", "min_lr must be 0 or more and at most 2147483647 in size, got"),
        ("scheduler.warmup_start_lr=1e300", "warmup_start_lr must be 0 or more and at most"),
        ("scheduler.warmup_epochs=1e300", "warmup_epochs must be 0 or more and at most"),
        ("scheduler.lr_decay_steps=[-1]", "lr_decay_steps must be at least 1, got -1"),
        ("optimizer.lr=1e300", "optimizer.lr must be 0 or more and at most"),
        ("accumulate_grad_batches=9999999999", "accumulate_grad_batches must be from 1 to 65536"),
        ("evaluation.max_train=1", "evaluation.max_train must be at least 2, got 1"),
        ("telemetry.bins=1", "telemetry.bins must be from 2 to 10000, got 1"),
        ("telemetry.bins=1000000000", "telemetry.bins must be from 2 to 10000"),
        ("data.long_tail.seed=-1", "long_tail.seed must be from 0 to 4294967295"),
        ("data.channels=2", "data.channels is 2. Allowed: 1, 3, null"),
        ("data.fraction=0", r"data.fraction must be in \(0, 1\], or -1 \(all images\), got 0"),
        ("timeout_minutes=1e9", r"timeout_minutes must be in \(0, 100000\], got"),
        ("evaluation.knn_temperature=1e-300", r"knn_temperature must be in \[0.0001, 100\], got"),
        ("method_kwargs.temperature=1e30", r"temperature must be in \[0.0001, 100\], got 1e\+30"),
        ("method_kwargs.proj_hidden_dim=99999999999", "proj_hidden_dim must be from 1 to 16384"),
        ("data.validation_fraction=1", r"data.validation_fraction must be in \[0, 1\), got 1"),
    ],
)
def test_values_that_make_no_sense_are_refused(tiny: Tiny, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tiny("simclr", override))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": [math.inf]}, r"augmentations.0.std must be in \[1e-06, 1\], got inf"),
        ({"mean": [math.nan]}, r"augmentations.0.mean must be in \[0, 1\], got nan"),
        ({"crop_size": 1}, "augmentations.0.crop_size must be from 2 to 4096, got 1"),
        ({"color_jitter": {"contrast": 1e39}}, r"color_jitter.contrast must be in \[0, 10\]"),
        ({"grayscale": {"prob": 1.1}}, r"grayscale.prob must be in \[0, 1\], got 1.1"),
    ],
)
def test_views_that_make_no_sense_are_refused(
    tiny: Tiny, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tiny("simclr", augmentations=[{"crop_size": 8, **change}]))


@pytest.mark.parametrize("value", ["9" * 5000, "{a:" * 2000 + "1" + "}" * 2000, "[" * 201])
def test_a_value_that_nothing_can_read_is_refused_with_its_key(value: str) -> None:
    with pytest.raises(UserError, match=r"backbone\.kwargs has a number of too many digits"):
        hydra_args([f"backbone.kwargs={value}"])


@pytest.mark.parametrize("name", sorted(DERIVED))
def test_a_derived_key_is_not_set_by_hand(name: str) -> None:
    for word in (f"{name}=3", f"++{name}=3"):
        with pytest.raises(UserError, match=f"{name} follows from other settings"):
            hydra_args([word])


def test_a_resolved_config_is_resolved_again_with_fresh_derived_values(tiny: Tiny) -> None:
    once = resolve(tiny("simclr"))
    once.optimizer.lr, once.data.long_tail.index_hash = 0.2, "of a file that is not asked for"
    once.data.num_large_crops = 9
    again = resolve(once)
    assert again == resolve(tiny("simclr", "optimizer.lr=0.2"))


def test_the_hash_leaves_out_keys_that_exist() -> None:
    assert set(OUTSIDE_HASH) <= set(known_keys())
