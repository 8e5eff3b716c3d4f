"""Measures weights that no run of ours made, by the protocols of `evaluation.run`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from solo_registry.backbones.weights import load_backbone
from solo_registry.config.compose import compose_config
from solo_registry.config.resolve import resolve
from solo_registry.data.from_images import completed
from solo_registry.data.module import build_data
from solo_registry.data.opened import open_data
from solo_registry.evaluation.features import Splits, measure
from solo_registry.evaluation.run import numbers
from solo_registry.metrics.protocol import PROTOCOLS, describe
from solo_registry.plots.tables import result_table
from solo_registry.runs.model import build_method
from solo_registry.runs.run_folder import SCHEMA_VERSION, write_json


def evaluate_weights(
    weights: Path, backbone: str, overrides: Sequence[str], out: Path | None, console: Console
) -> dict[str, Any]:
    """Measure a backbone with the weights of a file: kNN, linear probe, geometry.

    Raw pixels and the backbone with random weights are measured beside it. Images are preprocessed
    as in a run of ours: by the mean and std of the data set, or those of
    `augmentations.0.mean` and `.std`, which should be the ones that the weights were trained with.

    Args:
        weights: see `load_backbone`.
        backbone: a short name, or `timm/<model>`.
        overrides: KEY=VALUE of a run's config: `data=cifar10`, `augmentations.0.crop_size=224`,
            `evaluation.knn_k=200`.
        out: the JSON to write; by default `evaluations/<file>-<digest>-<data>.json`.
        console: where the table is printed.

    Returns:
        The content of the file that was written.

    Raises:
        UserError: weights that do not fit, or settings that cannot work.
    """
    cfg = resolve(compose_config([*overrides, f"backbone={backbone}", "optimizer.batch_size=2"]))
    opened = open_data(cfg.data)
    cfg, _ = completed(cfg, opened)
    data = build_data(cfg, opened)
    model = build_method(cfg, data)
    rows, splits = {}, Splits.of(data, cfg.evaluation)
    if cfg.evaluation.baselines:
        rows["raw_pixels"] = measure(None, splits, "raw pixels", console)
        rows["untrained"] = measure(model, splits, "untrained backbone", console)
    fitted = load_backbone(model.backbone, weights)
    rows["trained"] = measure(model, splits, "trained backbone", console)
    results = {name: numbers(item, data, cfg.evaluation, None) for name, item in rows.items()}
    digest = hashlib.sha256(weights.expanduser().read_bytes()).hexdigest()
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "weights": {"path": str(weights), "sha256": digest, "prefix": fitted.prefix},
        "backbone": backbone,
        "backbone_kwargs": OmegaConf.to_container(cfg.backbone.kwargs),
        "dataset": data.info.name,
        "data_digest": data.digest,
        "split": "validation" if cfg.data.validation_fraction else "test",
        "crop_size": data.crop_size,
        "normalisation": {"mean": list(data.info.mean), "std": list(data.info.std)},
        "train_images": len(rows["trained"].train.feats),
        "test_images": len(rows["trained"].test.feats),
        "evaluation": OmegaConf.to_container(cfg.evaluation),
        "protocols": {key: describe(key, results["trained"]) for key in PROTOCOLS},
        "results": results,
    }
    name = f"{weights.stem}-{digest[:8]}-{data.info.name}.json".replace("/", "-")
    out = out or Path("evaluations") / name
    write_json(out, result)
    console.print(
        result_table(
            results,
            title=f"Frozen features of {data.info.name}",
            images=result["test_images"],
            split=result["split"],
        )
    )
    ignored = f"; {len(fitted.left)} others in the file are not the backbone's"
    console.print(
        f"{fitted.used} tensors of {weights}{ignored if fitted.left else ''}\nnumbers in {out}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    return result
