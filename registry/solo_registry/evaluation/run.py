"""Measures a run: trained backbone, untrained backbone and raw pixels by the same protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from solo_registry.config.identity import config_hash
from solo_registry.config.index_file import index_record
from solo_registry.config.resolve import check_evaluation
from solo_registry.config.schema import EvaluationConfig
from solo_registry.data.hashing import mix
from solo_registry.data.module import PretrainDataModule, eval_loader
from solo_registry.data.sampling import PretrainSet
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.histogram import SimilarityHistogram, similarity_histogram
from solo_registry.metrics.long_tail import long_tail_results, summary
from solo_registry.metrics.protocol import PROTOCOLS, Features, describe, evaluate_features
from solo_registry.plots.tables import result_table
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.run_folder import SCHEMA_VERSION, RunFolder, write_json
from solo_registry.training.divergence import check_outputs

PAIRED_IMAGES = 2000  # test images whose two views are compared
PIXELS = 32  # larger images are averaged down to this size for the raw-pixel baseline
BATCH = 256


@dataclass
class Measured:
    """Features of one backbone (or of raw pixels) on both splits, and two views of test images."""

    train: Features
    test: Features
    views: tuple[Tensor, Tensor]
    histogram: SimilarityHistogram | None = None


def evaluate_run(
    path: Path,
    evaluation: DictConfig,
    console: Console,
    *,
    data: PretrainDataModule | None = None,
    other: str | None = None,
    **where: Any,
) -> dict[str, Any]:
    """Measure a run's last checkpoint, or the one given, and write numbers and pictures.

    The numbers of a finished run go to result.json, those of another checkpoint to
    evaluations/epoch-<n>.json, those on another data set to evaluations/<data>-<digest>.json.
    If result.json already has these settings, nothing is measured again.

    Args:
        path: a run folder, or a checkpoint inside one.
        evaluation: the config's `evaluation` section.
        console: where the table is printed.
        data: the run's data, if it is loaded already.
        other: name of another data set to measure on.
        **where: as in `LoadedRun.data`.

    Returns:
        The content of the file that was written.

    Raises:
        UserError: there is no checkpoint, or it does not fit the run.
    """
    if not evaluation.enabled:
        return {}
    settings: Any = OmegaConf.to_container(evaluation)
    loaded = LoadedRun(path)
    run, cfg = loaded.folder, loaded.cfg
    done = run.read_result()
    if done is not None and loaded.is_last and other is None and same(done, settings):
        show(done, run, console)
        return done
    data = data or loaded.data(other, **where)
    model = loaded.untrained()
    measured = {}
    if evaluation.baselines:
        measured["raw_pixels"] = measure(None, data, evaluation, "raw pixels", console)
        measured["untrained"] = measure(model, data, evaluation, "untrained backbone", console)
    state = loaded.load_weights(model)
    measured["trained"] = measure(model, data, evaluation, "trained backbone", console)
    epochs = int(state["epoch"]) + 1
    results = {name: numbers(item, data, evaluation) for name, item in measured.items()}
    result = {
        "schema_version": SCHEMA_VERSION,
        "name": cfg.name,
        "method": cfg.method,
        "method_kwargs": OmegaConf.to_container(cfg.method_kwargs),
        "dataset": data.info.name,
        "data_digest": data.digest,
        "pretrained_on": cfg.data.dataset,
        "normalisation": {"mean": list(data.info.mean), "std": list(data.info.std)},
        "backbone": cfg.backbone.name,
        "seed": cfg.seed,
        "config_hash": config_hash(cfg),
        "epochs": epochs,
        "steps": int(state["global_step"]),
        "parameters": sum(weight.numel() for weight in model.backbone.parameters()),
        "train_images": len(measured["trained"].train.feats),
        "test_images": len(measured["trained"].test.feats),
        "split": "validation" if cfg.data.validation_fraction else "test",
        "evaluation": settings,
        "protocols": {key: describe(key, results["trained"]) for key in PROTOCOLS},
        "results": results,
        "train_indices": index_record(data.train_set.indices),
        "long_tail": long_tail_results(
            data.train_set.targets,
            data.info.num_classes,
            {name: (item.train, item.test) for name, item in measured.items()},
            results,
        ),
    }
    finished = loaded.is_last and epochs >= cfg.max_epochs
    out = run.result
    if other or not finished:
        out = loaded.file("", None if finished else epochs, other, data.digest)
    if evaluation.pictures:
        plots = run.plots if out == run.result else out.with_suffix("")
        draw(plots, run, model, measured, result, data, console)
    write_json(out, result)
    show(result, run, console, out)
    return result


def same(done: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a result has these settings; a key that an old result lacks has its default."""
    known: dict[str, Any] = asdict(EvaluationConfig()) | done["evaluation"]
    return known == settings


def evaluate_again(
    path: Path,
    changes: dict[str, Any],
    console: Console,
    other: str | None = None,
    **where: Any,
) -> dict[str, Any]:
    """Measure a run folder or a checkpoint inside one again, with some settings changed.

    Raises:
        UserError: `path` is neither a run folder nor a checkpoint.
    """
    given = OmegaConf.structured(EvaluationConfig)
    given.update(LoadedRun(path).cfg.evaluation)
    given.update(changes | {"enabled": True})
    check_evaluation(given)
    return evaluate_run(path, given, console, other=other, **where)


def measure(
    model: BaseMethod | None,
    data: PretrainDataModule,
    evaluation: DictConfig,
    label: str,
    console: Console,
) -> Measured:
    """Compute features of both splits and of two views; `model=None` gives raw pixels."""
    train, test = features_of(model, data, evaluation, label, console)
    embed = embedding(model, data.eval_device, label)
    tested = data.val_set if data.val_set is not None else data.train_set
    pairs = PretrainSet(tested, data.views, data.seed)
    keys: Any = [(0, index) for index in range(min(len(tested), PAIRED_IMAGES))]
    first, second, targets = [], [], []
    for start in range(0, len(keys), BATCH):
        items = pairs.__getitems__(keys[start : start + BATCH])
        first.append(embed(torch.stack([views[0] for _, views, _ in items])))
        # a method of one view, such as MAE, has no second view to compare
        second.append(embed(torch.stack([views[:2][-1] for _, views, _ in items])))
        targets += [target for _, _, target in items]
    feats1, z1 = (torch.cat(part) for part in zip(*first, strict=True))
    feats2, z2 = (torch.cat(part) for part in zip(*second, strict=True))
    histogram = None if model is None else similarity_histogram(z1, z2, torch.tensor(targets))
    return Measured(train, test, (feats1, feats2), histogram)


def embedding(
    model: BaseMethod | None, device: torch.device, label: str
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the function from images to features and projections, both (N, D) on the CPU.

    The function raises a UserError that names `label` if a feature is not finite.
    """
    if model is not None:
        model = model.to(device).eval()

    @torch.inference_mode()
    def embed(X: Tensor) -> tuple[Tensor, Tensor]:
        if model is None:
            small = F.adaptive_avg_pool2d(X, PIXELS) if X.shape[-1] > PIXELS else X
            return small.flatten(1), small.flatten(1)
        out = model(X.to(device))
        feats, z = out["feats"].float().cpu(), out.get("z", out["feats"]).float().cpu()
        check_outputs(label, feats, z)
        return feats, z

    return embed


def features_of(
    model: BaseMethod | None,
    data: PretrainDataModule,
    evaluation: DictConfig,
    label: str,
    console: Console,
) -> tuple[Features, Features]:
    """Compute features of train and test images; without test images, train is used for both."""
    embed = embedding(model, data.eval_device, label)

    def collect(loader: DataLoader[Any]) -> Features:
        quiet = not console.is_terminal
        batches = track(loader, label, console=console, transient=True, disable=quiet)
        feats, targets = zip(*((embed(X)[0], y) for X, y in batches), strict=True)
        return Features(torch.cat(feats), torch.cat(targets))

    def loader(images: Any, count: int, seed: int) -> DataLoader[Any]:
        chosen = torch.randperm(
            len(images), generator=torch.Generator().manual_seed(mix(b"evaluate", seed))
        )
        return eval_loader(
            images,
            crop_size=data.crop_size,
            batch_size=BATCH,
            num_workers=data.num_workers,
            indices=sorted(chosen[:count].tolist()),
            device=data.eval_device,
        )

    tested = data.val_set if data.val_set is not None else data.train_set
    train = collect(loader(data.train_set, evaluation.max_train, data.seed))
    test = train if data.val_set is None else collect(loader(tested, len(tested), data.seed))
    if data.val_set is None:  # without held-out images, only the geometry is measured
        train = Features(train.feats, torch.full_like(train.targets, -1))
    return train, test


def numbers(item: Measured, data: PretrainDataModule, evaluation: DictConfig) -> dict[str, Any]:
    """Run every protocol on one set of features."""
    return evaluate_features(
        item.train,
        item.test,
        num_classes=max(1, data.info.num_classes),
        knn_k=min(evaluation.knn_k, max(1, item.train.labelled)),
        knn_temperature=evaluation.knn_temperature,
        views=item.views,
        linear=evaluation.linear,
    )


def draw(
    plots: Path,
    run: RunFolder,
    model: BaseMethod,
    measured: dict[str, Measured],
    result: dict[str, Any],
    data: PretrainDataModule,
    console: Console,
) -> None:
    """Write the pictures of a run."""
    from solo_registry.plots.comparison import comparison_bars
    from solo_registry.plots.curves import training_curves
    from solo_registry.plots.feature_map import feature_map
    from solo_registry.plots.mechanism import mechanism_picture, trajectory_picture
    from solo_registry.plots.temperature import temperature_picture

    with console.status("drawing"):
        if run.metrics.exists():
            training_curves(pd.read_csv(run.metrics), plots / "training.png")
        if plots == run.plots:  # of the training itself, not of an earlier checkpoint
            mechanism, trajectory = (run.path / f"{n}.parquet" for n in ("mechanism", "trajectory"))
            if mechanism.exists():
                mechanism_picture(mechanism, plots / "mechanism.png")
            if trajectory.exists():
                trajectory_picture(trajectory, plots / "trajectory.png")
        before = measured["untrained"].histogram if "untrained" in measured else None
        after = measured["trained"].histogram
        s = torch.linspace(-1, 1, 401)
        tau = model.temperature_curve(s.to(model.device))
        if after is not None:
            curve = None if tau is None else (s, tau.detach().cpu())
            out = plots / "temperature.png"
            temperature_picture(after, curve, out, before=before)
        trained = measured["trained"].test
        feature_map(
            trained.feats,
            trained.targets,
            data.info.class_names,
            plots / "features.png",
            method=result["evaluation"]["map"],
        )
        comparison_bars(result["results"], plots / "comparison.png")


def show(result: dict[str, Any], run: RunFolder, console: Console, out: Path | None = None) -> None:
    """Print the table and the paths of the files."""
    title = "Frozen features"
    if result["dataset"] != result.get("pretrained_on", result["dataset"]):
        source = result["pretrained_on"]
        title = f"{title} of {result['dataset']}, by a backbone, mean and std of {source}"
    console.print(result_table(result["results"], title=title))
    if result.get("long_tail"):
        console.print(summary(result["long_tail"]), soft_wrap=True)
    place = f"{run.path}: numbers in result.json, pictures in plots/"
    if out not in (None, run.result):
        place = f"numbers in {out}"
    console.print(place, soft_wrap=True, highlight=False)
    if result["results"]["trained"]["knn_acc1"] is None:
        console.print("no accuracies: the data have no labelled validation images (data.val_path)")
