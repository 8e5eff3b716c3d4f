"""Checks a config for solo-learn's methods before training, and translates it for them."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_dyntemp.hosts.solo_learn import timm_backbone
from solo_registry.config.devices import count_processes
from solo_registry.errors import UserError, nearest
from solo_registry.methods.parts.queue import queue_size
from solo_registry.methods.parts.views import require_two_views

MULTICROP = ("byol", "simclr", "supcon", "swav")  # accept small crops besides the two large ones
ANY_CROPS = ("mae", "wmse")
MASKED = ("vit_base", "vit_large", "vit_small", "vit_tiny")  # solo-learn's ViTs that mask patches
MOST_CLUSTERS = 3000  # as in DeepCluster V2's recipe


def check_method(cfg: DictConfig, name: str) -> None:
    """Refuse configs at which solo-learn's method `name` would fail, often hours later.

    Raises:
        UserError: the message names the key, its value and what is allowed.
    """
    kwargs, batch = cfg.method_kwargs, cfg.optimizer.batch_size
    large = cfg.data.num_large_crops
    if name in MULTICROP and large != 2:
        raise UserError(f"method '{cfg.method}' compares 2 large crops, got {large}")
    if name not in MULTICROP + ANY_CROPS:
        require_two_views(cfg)
    if name == "supcon" and cfg.data.no_labels:
        raise UserError(f"method '{cfg.method}' learns from labels, data.no_labels is true")
    if name == "mae":
        check_mae(cfg)
    elif name == "swav":
        if 0 < kwargs.queue_size // count_processes(cfg) < batch:
            raise UserError(
                f"method_kwargs.queue_size {kwargs.queue_size} must be 0 or hold the batch of "
                f"{batch} images of every process"
            )
    elif name == "wmse" and batch % kwargs.whitening_size:
        raise UserError(
            f"optimizer.batch_size {batch} is not divisible by method_kwargs.whitening_size "
            f"{kwargs.whitening_size}"
        )
    elif name == "dino" and kwargs.warmup_teacher_temperature_epochs > cfg.max_epochs:
        raise UserError(
            "method_kwargs.warmup_teacher_temperature_epochs "
            f"{kwargs.warmup_teacher_temperature_epochs} is more than max_epochs={cfg.max_epochs}"
        )
    elif name == "all4one" and kwargs.proj_output_dim % 8:
        raise UserError(
            "method_kwargs.proj_output_dim must be divisible by 8, the attention heads of "
            f"{cfg.method}, got {kwargs.proj_output_dim}"
        )
    elif "queue_size" in kwargs:
        queue_size(cfg)


def check_mae(cfg: DictConfig) -> None:
    """Check MAE's needs: a ViT that masks patches, and color images for its decoder."""
    if (backbone := cfg.backbone.name) not in MASKED:
        raise UserError(
            f"method '{cfg.method}' masks patches of a ViT, backbone.name is '{backbone}'."
            f"{nearest(backbone, MASKED)} Allowed: {', '.join(MASKED)}"
        )
    if 3 not in (cfg.data.channels, cfg.data.image_channels):
        raise UserError(f"method '{cfg.method}' reconstructs color images: set data.channels=3")
    size, patch = cfg.augmentations[0].crop_size, mae_patch(cfg)
    if size % patch or cfg.data.num_small_crops:
        raise UserError(
            f"method '{cfg.method}' takes crops of one size that backbone.kwargs.patch_size "
            f"{patch} divides, got crop_size={size}"
        )


def mae_patch(cfg: DictConfig) -> int:
    """Return the patch size: the config's, or an eighth of the image, at most 16 pixels."""
    size: int = cfg.augmentations[0].crop_size
    return int(cfg.backbone.kwargs.get("patch_size", max(2, min(16, size // 8))))


def solo_config(cfg: DictConfig, name: str) -> DictConfig:
    """Return our resolved config in the form that solo-learn's constructors read.

    Our learning rate is scaled already, but they multiply it by `accumulate_grad_batches` again; so
    it is divided here. Our backbones are in their table under names of their own, so that every
    name and stem works.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    plain["method"] = name
    plain["knn_eval"]["enabled"] = False  # ours is used, because theirs fails with torchmetrics 1.x
    plain["scheduler"]["interval"] = "epoch"  # ours is used, because theirs warns about steps
    optimizer, accumulated = plain["optimizer"], cfg.accumulate_grad_batches
    optimizer["lr"] = optimizer["effective_lr"] / accumulated
    optimizer["classifier_lr"] = optimizer["effective_classifier_lr"] / accumulated
    data, kwargs, backbone = plain["data"], plain["method_kwargs"], plain["backbone"]
    data["num_classes"] = max(1, data["num_classes"])
    size = cfg.augmentations[0].crop_size
    if name == "mae":
        backbone["kwargs"] = {"img_size": size, **backbone["kwargs"], "patch_size": mae_patch(cfg)}
    else:
        shape = {"image_size": size, "in_channels": cfg.data.image_channels}
        backbone["kwargs"] = {**backbone["kwargs"], **shape}
        backbone["name"] = add_backbone(cfg.backbone.name)
    if "queue_size" in kwargs and name != "swav":
        kwargs["queue_size"] = queue_size(cfg)
    if name == "deepclusterv2":
        kwargs["num_prototypes"] = clusters(cfg)
    theirs: DictConfig = OmegaConf.create(plain)
    return theirs


def add_backbone(name: str) -> str:
    """Add one of our backbones to solo-learn's table; return its name there.

    The name must not begin with "resnet", because solo-learn would replace stem and head. But it
    must contain "resnet" for a ResNet, because MoCo v3 chooses its heads by this.
    """
    theirs = import_module("solo.methods.base").BaseMethod._BACKBONES
    theirs.setdefault(f"ours/{name}", partial(timm_backbone, name))
    return f"ours/{name}"


def clusters(cfg: DictConfig) -> list[int]:
    """Return the numbers of k-means clusters; null means 3,000 three times, or images / 10 if less.

    Raises:
        UserError: there are more clusters than features to cluster.
    """
    batch = cfg.optimizer.batch_size
    bank = cfg.data.train_images // (batch * count_processes(cfg)) * batch
    asked = cfg.method_kwargs.num_prototypes
    if asked is None:
        return 3 * [max(1, min(MOST_CLUSTERS, bank // 10))]
    counts = [int(count) for count in asked]
    if not counts or min(counts) < 1 or max(counts) > bank:
        raise UserError(
            f"method_kwargs.num_prototypes {counts}: between 1 and {bank} clusters each, the "
            "number of images that an epoch has on one process"
        )
    return counts
