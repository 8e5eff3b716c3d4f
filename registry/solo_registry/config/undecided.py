"""The keys that a config may leave to the images: null until `data.from_images` fills them in."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from solo_registry.config.schema import PretrainConfig

# each key, and what stands in for it while a config is checked before its images are opened
LEFT: dict[str, object] = {
    key: OmegaConf.select(OmegaConf.structured(PretrainConfig), key)
    for key in (
        "data.validation_fraction",
        "backbone.name",
        "optimizer.name",
        "optimizer.batch_size",
        "optimizer.lr",
        "optimizer.classifier_lr",
        "scheduler.warmup_epochs",
        "max_epochs",
    )
}
CROP_SIZE = 32


def undecided(cfg: DictConfig) -> dict[str, object]:
    """Return the keys that are null because the images decide, and what stands in for each.

    >>> undecided(OmegaConf.create({"max_epochs": None, "augmentations": [{"crop_size": None}]}))
    {'max_epochs': 100, 'augmentations.0.crop_size': 32}
    """
    crops = {f"augmentations.{at}.crop_size": CROP_SIZE for at in range(len(cfg.augmentations))}
    return {key: value for key, value in (LEFT | crops).items() if _is_null(cfg, key)}


def _is_null(cfg: DictConfig, key: str) -> bool:
    section, _, leaf = key.rpartition(".")
    node = OmegaConf.select(cfg, section) if section else cfg
    return node is not None and leaf in node and node[leaf] is None
