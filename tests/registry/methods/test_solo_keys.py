"""A config with the keys of solo-learn's YAML, written here, builds every method it has."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from omegaconf import OmegaConf
from tests.registry.methods.conftest import KINDS

from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.runs.model import build_method

WIDTHS: dict[str, Any] = {"proj_hidden_dim": 32, "proj_output_dim": 16}
PREDICTOR = {**WIDTHS, "pred_hidden_dim": 32}
# what each method's YAML sets; its other keys have defaults
METHOD_KWARGS: dict[str, dict[str, Any]] = {
    "all4one": {**PREDICTOR, "temperature": 0.2, "queue_size": 512},
    "barlow_twins": {**WIDTHS, "lamb": 0.0051, "scale_loss": 0.1},
    "byol": PREDICTOR,
    "deepclusterv2": {**WIDTHS, "num_prototypes": [30, 30, 30]},
    "dino": {**WIDTHS, "num_prototypes": 64, "norm_last_layer": False, "clip_grad": 3,
             "warmup_teacher_temperature_epochs": 50},
    "mae": {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 4,
            "mask_ratio": 0.75, "norm_pix_loss": True},
    "mocov2plus": {**WIDTHS, "queue_size": 512, "temperature": 0.2},
    "mocov3": {**PREDICTOR, "temperature": 0.2},
    "nnbyol": {**PREDICTOR, "queue_size": 512},
    "nnclr": {**PREDICTOR, "temperature": 0.2, "queue_size": 512},
    "nnsiam": {**PREDICTOR, "queue_size": 512},
    "ressl": {**WIDTHS, "temperature_q": 0.1, "temperature_k": 0.04, "base_tau_momentum": 0.99,
              "final_tau_momentum": 1.0, "momentum_classifier": None},
    "simclr": {**WIDTHS, "temperature": 0.2},
    "simsiam": {**PREDICTOR, "temperature": 0.2},
    "supcon": {**WIDTHS, "temperature": 0.2},
    "swav": {**WIDTHS, "queue_size": 512, "num_prototypes": 30, "epoch_queue_starts": 50,
             "freeze_prototypes_epochs": 2, "temperature": 0.1},
    "vibcreg": {**WIDTHS, "sim_loss_weight": 25.0, "var_loss_weight": 25.0,
                "cov_loss_weight": 200.0, "iternorm": True},
    "vicreg": {**WIDTHS, "sim_loss_weight": 25.0, "var_loss_weight": 25.0, "cov_loss_weight": 1.0},
    "wmse": {**WIDTHS, "whitening_size": 128},
}  # fmt: skip
SWITCH = {"enabled": False, "prob": 0.5}
CONFIG: dict[str, Any] = {
    "name": "theirs",
    "momentum": {"base_tau": 0.99, "final_tau": 1.0},
    "data": {"dataset": "digits", "train_path": "./datasets", "val_path": "./datasets",
             "format": "image_folder", "num_workers": 4},
    "augmentations": [{
        "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
        "color_jitter": {"enabled": True, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2,
                         "hue": 0.1, "prob": 0.8},
        "grayscale": {"prob": 0.2}, "gaussian_blur": SWITCH, "solarization": {"prob": 0.1},
        "equalization": {"prob": 0.0}, "horizontal_flip": {"enabled": True, "prob": 0.5},
        "crop_size": 32, "num_crops": 2,
    }],
    "optimizer": {"name": "lars", "batch_size": 256, "lr": 0.3, "classifier_lr": 0.1,
                  "weight_decay": 1e-4,
                  "kwargs": {"clip_lr": True, "eta": 0.02, "exclude_bias_n_norm": True}},
    "scheduler": {"name": "warmup_cosine", "min_lr": 0.0006, "warmup_start_lr": 0.0,
                  "warmup_epochs": 11},
    "checkpoint": {"enabled": True, "dir": "trained_models", "frequency": 1},
    "auto_resume": {"enabled": True},
    "wandb": {"enabled": False, "entity": "None", "project": "theirs", "offline": False},
    "max_epochs": 1000, "devices": [0], "sync_batchnorm": True, "accelerator": "gpu",
    "strategy": "ddp", "precision": "16-mixed",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("simclr", *KINDS) else pytest.mark.nightly)
        for name in METHOD_KWARGS
    ],
)
def test_their_keys_build_our_method(name: str) -> None:
    backbone: dict[str, Any] = {"name": "resnet18"}
    if name == "mae":
        backbone = {"name": "vit_tiny", "kwargs": {"patch_size": 8, "img_size": 32}}
    theirs = {"method": name, "method_kwargs": METHOD_KWARGS[name], "backbone": backbone}
    unused = set(METHODS.get(name).UNUSED) & METHOD_KWARGS[name].keys()
    expected = pytest.warns(UserWarning, match=f"not used by method '{name}'")
    with expected if unused else contextlib.nullcontext():
        cfg = resolve(OmegaConf.create({**CONFIG, **theirs}))
    kept = {key: value for key, value in METHOD_KWARGS[name].items() if key not in unused}
    assert {key: cfg.method_kwargs[key] for key in kept} == kept
    assert cfg.augmentations[0].gaussian_blur.prob == 0 and cfg.augmentations[0].crop_size == 32
    model = build_method(cfg, build_data(cfg))
    assert type(model) is METHODS.get(name)


def test_each_method_that_solo_learn_has_is_in_the_table() -> None:
    assert len(METHOD_KWARGS) == 19 and METHOD_KWARGS.keys() <= set(METHODS)


def test_keys_that_nobody_reads_are_left_out_with_a_warning() -> None:
    stale = {"augmentations_cfg": "some/weak.yaml", "wandb_cfg": "some/private.yaml"}
    theirs = {"method": "simsiam", "method_kwargs": METHOD_KWARGS["simsiam"]}
    with pytest.warns(UserWarning, match="not used") as caught:
        cfg = resolve(OmegaConf.create({**CONFIG, **theirs, **stale}))
    assert {str(one.message).split()[0] for one in caught} >= stale.keys()
    assert not stale.keys() & set(cfg)
