from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
from lightning.fabric import Fabric
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import lr_product, merge_schema, resolve
from solo_registry.config.schema import PRECISIONS
from solo_registry.errors import UserError

Tiny = Callable[..., DictConfig]


def test_effective_lr_is_the_stated_product_and_lr_stays_as_written(tiny: Tiny) -> None:
    given = tiny("simclr", "optimizer.lr=0.4", "devices=2", "accumulate_grad_batches=3")
    cfg = resolve(given)
    assert cfg.optimizer.lr == given.optimizer.lr == 0.4
    assert cfg.optimizer.effective_lr == pytest.approx(0.4 * 128 * 2 * 3 / 256)
    assert cfg.optimizer.effective_classifier_lr == pytest.approx(0.1 * 128 * 2 * 3 / 256)
    assert "1.2 = 0.4 x 128 images x 2 devices x 1 nodes x 3 accumulated / 256" in lr_product(cfg)


def test_resolving_twice_changes_nothing(tiny: Tiny) -> None:
    once = resolve(tiny("simclr_dyntemp"))
    assert resolve(once) == once
    assert config_hash(resolve(once)) == config_hash(once)


def test_crops_are_counted_large_by_the_first_pipelines_size(tiny: Tiny) -> None:
    pipelines = [{"crop_size": 16}, {"crop_size": 16}, {"crop_size": 8, "num_crops": 4}]
    cfg = resolve(tiny("simclr", augmentations=pipelines))
    assert (cfg.data.num_large_crops, cfg.data.num_small_crops) == (2, 4)


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("seed=9", True),
        ("name=other", True),
        ("progress=lines", True),
        ("data.num_workers=3", True),
        ("evaluation.knn_k=5", True),
        ("evaluation.map=umap", True),
        ("precision=32-true", True),
        ("precision=bf16-mixed", False),
        ("method_kwargs.tau_max=0.3", False),
        ("method_kwargs.detach_temperature=false", False),
        ("optimizer.batch_size=64", False),
        ("max_epochs=3", False),
        ("backbone.name=resnet18", False),
    ],
)
def test_the_hash_follows_what_numbers_depend_on(tiny: Tiny, override: str, same: bool) -> None:
    base = config_hash(resolve(tiny("simclr_dyntemp")))
    changed = config_hash(resolve(tiny("simclr_dyntemp", override)))
    assert (changed == base) is same


def test_lightnings_spellings_of_a_precision_are_those_of_one_run(tiny: Tiny) -> None:
    """The oracle is Lightning: with two spellings it makes one plugin."""
    for given in ("16", 16, "bf16", "32", 32, "32-true", "64", 64, "64-true"):
        cfg = resolve(tiny("simclr", f"precision={given}"))
        assert resolve(cfg).precision == cfg.precision in PRECISIONS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning discourages the short ones
            theirs, ours = (
                Fabric(accelerator="cpu", precision=each) for each in (given, cfg.precision)
            )
        assert theirs._precision.precision == ours._precision.precision


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimzer.lr=1", r"unknown config key 'optimzer'. Did you mean 'optimizer'"),
        ("optimizer.lrr=1", r"unknown config key 'optimizer.lrr'. Did you mean 'optimizer.lr'"),
        ("optimizer.lr=fast", r"'optimizer.lr': Value 'fast'"),
        ("optimizer.name=sdg", r"optimizer.name is 'sdg'. Did you mean 'sgd'\? Allowed: adam"),
        ("scheduler.name=cosine", r"scheduler.name is 'cosine'. Did you mean 'warmup_cosine'"),
        ("scheduler.name=step", r"lr_decay_steps"),
        ("data.long_tail=[1]", r"data.long_tail must be of type keys, got \[1\]"),
        ("wandb.entity={a: 1}", "wandb.entity must be of type text or null, got {a: 1}"),
        ("augmentations=[{mean: {a: 1}}]", r"augmentations.0.mean must be of type number list or"),
        ("augmentations=[7]", r"augmentations must be of type keys list, got \[7\]"),
        ("seed=${nowhere}", r"seed"),
        ("max_epochs=0", r"max_epochs must be at least 1, got 0"),
        ("optimizer.lr=-1", r"optimizer.lr must be 0 or more and finite, got -1"),
        ("optimizer.lr=.nan", r"optimizer.lr must be 0 or more and finite, got nan"),
        ("devices=many", r"devices must be a count, a list of ids or auto, got 'many'"),
        ("devices=0", r"devices must be .* got 0"),
        ("data.dataset=digit", r"unknown data set 'digit'. Did you mean 'digits'"),
        ("method=simclr_dyntmp", r"unknown method 'simclr_dyntmp'. Did you mean 'simclr_dyntemp'"),
        ("method_kwargs.tau_mim=0.1", r"no method_kwargs.tau_mim. Did you mean 'tau_min'"),
        ("method_kwargs.tau_min=0", r"tau_min must be in \[0.0001, 100\], got 0"),
        ("method_kwargs.tau_min=-0.1", r"tau_min must be in \[0.0001, 100\], got -0.1"),
        ("method_kwargs.tau_min=.nan", r"tau_min must be in \[0.0001, 100\], got nan"),
        ("method_kwargs.tau_min=0.5", r"tau_min must not exceed tau_max, got 0.5 > 0.2"),
        ("method_kwargs.tau_max=hot", r"tau_max must be of type number or null, got 'hot'"),
        ("method_kwargs.temperature=cosin", r"Did you mean 'cosine'"),
        ("method_kwargs.proj_output_dim=0", r"proj_output_dim must be from 1 to 16384, got 0"),
    ],
)
def test_bad_input_is_refused_with_the_value_and_the_nearest_name(
    tiny: Tiny, override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tiny("simclr_dyntemp", override))


def test_a_missing_key_is_named(tiny: Tiny) -> None:
    given = tiny("simclr")
    del given.data.dataset
    with pytest.raises(UserError, match=r"no value for data.dataset"):
        resolve(given)
    given = tiny("simclr", seed="???")
    with pytest.raises(UserError, match=r"no value for seed"):
        resolve(given)


def test_solo_learns_none_as_text_is_null() -> None:
    cfg = OmegaConf.create(
        {"method": "simclr", "data": {"dataset": "digits"}, "wandb": {"entity": "None"}}
    )
    assert merge_schema(cfg).wandb.entity is None


def test_moco_refuses_multicrop(tiny: Tiny) -> None:
    pipelines = [{"crop_size": 16, "num_crops": 2}, {"crop_size": 8, "num_crops": 4}]
    with pytest.raises(UserError, match="exactly 2 large crops, got 2 large and 4 small"):
        resolve(tiny("mocov2plus", augmentations=pipelines))


def test_a_fixed_temperature_is_told_not_to_be_used(tiny: Tiny) -> None:
    with pytest.warns(UserWarning, match=r"temperature=0\.2 is not used"):
        cfg = resolve(tiny("simclr_dyntemp", "method_kwargs.temperature=0.2"))
    assert cfg.method_kwargs.temperature == "cosine"


@pytest.mark.parametrize("key", ["runs_dir", "data.train_path", "resume_from_checkpoint"])
def test_a_name_that_no_file_system_takes_is_refused(tiny: Tiny, key: str) -> None:
    with pytest.raises(UserError, match=rf"{key}=.*: a name in it has over 255 bytes"):
        resolve(tiny("simclr", f"{key}=here/{'x' * 256}"))
