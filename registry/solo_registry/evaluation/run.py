"""Measures a run: trained backbone, untrained backbone and raw pixels by the same protocols."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_registry.config.index_file import index_record
from solo_registry.config.resolve import check_evaluation
from solo_registry.config.schema import EvaluationConfig
from solo_registry.data.module import PretrainDataModule
from solo_registry.evaluation.features import Measured, Splits, measure
from solo_registry.evaluation.linear_head import LinearHead, save_head
from solo_registry.evaluation.publish import draw_run, show
from solo_registry.evaluation.verdict import last_loss, verdict
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.linear_probe import ProbeResult, linear_probe
from solo_registry.metrics.long_tail import long_tail_results
from solo_registry.metrics.protocol import PROTOCOLS, describe, evaluate_features
from solo_registry.paths import exists
from solo_registry.plots.tables import ROW_NAMES
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.lock import held
from solo_registry.runs.model import fill
from solo_registry.runs.read import signed
from solo_registry.runs.run_folder import SCHEMA_VERSION, write_json


@dataclass
class Measurement:
    """What `measure_rows` returns.

    Attributes:
        model: the method with the weights that were measured.
        state: its checkpoint.
        rows: features by "raw_pixels", "untrained" (or "initial_weights") and "trained".
        probe: the linear probe of "trained"; None without labels, or where none is wanted.
    """

    model: BaseMethod
    state: dict[str, Any]
    rows: dict[str, Measured]
    probe: ProbeResult | None

    @property
    def epochs(self) -> int:
        """Number of epochs after which the checkpoint was saved."""
        return int(self.state["epoch"]) + 1


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
    loaded = LoadedRun(path)
    settings: Any = OmegaConf.to_container(evaluation)

    def measured() -> dict[str, Any] | None:
        done = loaded.folder.read_result() if loaded.is_last and other is None else None
        # a result of an older version lacks what was not measured then
        lacks = done is not None and not PROTOCOLS.keys() <= done["protocols"].keys()
        again = lacks and exists(loaded.checkpoint)
        return done if done is not None and same(done, settings) and not again else None

    if (done := measured()) is not None:
        if loaded.folder.has_parts():  # of a process that was killed at its last file
            with held(loaded.folder.path, console):
                loaded.folder.remove_parts()
        show(done, loaded.folder, console)
        return done
    data = data or loaded.data(other, **where)
    model = loaded.untrained(initial=evaluation.baselines and loaded.has_start())
    state = loaded.read_checkpoint()
    out = place(loaded, int(state["epoch"]) + 1, other, data.digest)
    own = out == loaded.folder.result
    with held(loaded.folder.path if own else out, console):
        if own:
            loaded.folder.remove_parts()
        if (done := measured()) is not None:  # by another process meanwhile
            show(done, loaded.folder, console)
            return done
        measurement = measure_rows(loaded, model, state, data, evaluation, console)
        result = assemble(loaded, data, evaluation, measurement)
        publish(loaded, data, out, measurement, result, console)
    return result


def place(loaded: LoadedRun, epochs: int, other: str | None, digest: str | None) -> Path:
    """Return the file of a measurement: result.json, or one in evaluations/."""
    finished = loaded.is_last and epochs >= loaded.cfg.max_epochs
    if other is None and finished:
        return loaded.folder.result
    return loaded.file("", None if finished else epochs, other, digest)


def same(done: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether a result has these settings; a key that an old result lacks has its default."""
    known: dict[str, Any] = asdict(EvaluationConfig()) | done["evaluation"]
    return known == settings


def measure_rows(
    loaded: LoadedRun,
    model: BaseMethod,
    state: dict[str, Any],
    data: PretrainDataModule,
    evaluation: DictConfig,
    console: Console,
) -> Measurement:
    """Compute the features of the trained backbone and, if asked for, of the two baselines.

    Args:
        loaded: the run.
        model: its method with initial weights; gets those of the checkpoint.
        state: the checkpoint.
        data: the images.
        evaluation: the config's `evaluation` section.
        console: where progress is shown.
    """
    rows, splits = {}, Splits.of(data, evaluation)
    if evaluation.baselines:
        rows["raw_pixels"] = measure(None, splits, "raw pixels", console)
        name = "initial_weights" if loaded.cfg.backbone.weights else "untrained"
        if loaded.has_start():
            rows[name] = measure(model, splits, ROW_NAMES[name], console)
        else:
            gone = f"backbone.weights={loaded.cfg.backbone.weights} has gone or changed"
            warnings.warn(f"{gone}: the row {ROW_NAMES[name]} is left out", stacklevel=2)
    fill(model, state, loaded.checkpoint)
    rows["trained"] = trained = measure(model, splits, "trained backbone", console)
    probe = None
    if evaluation.linear and trained.train.labelled and trained.test.labelled:
        probe = linear_probe(
            trained.train.feats,
            trained.train.targets,
            trained.test.feats,
            trained.test.targets,
            num_classes=data.info.num_classes,
            device=data.eval_device,
        )
    return Measurement(model, state, rows, probe)


def assemble(
    loaded: LoadedRun,
    data: PretrainDataModule,
    evaluation: DictConfig,
    measurement: Measurement,
) -> dict[str, Any]:
    """Run every protocol on the features, and return the content of result.json."""
    cfg, rows, trained = loaded.cfg, measurement.rows, measurement.rows["trained"]
    probes = {"trained": measurement.probe}
    results = {
        name: numbers(item, data, evaluation, probes.get(name)) for name, item in rows.items()
    }
    return {
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
        "config_hash": loaded.folder.hash,
        "epochs": measurement.epochs,
        "steps": int(measurement.state["global_step"]),
        "parameters": sum(weight.numel() for weight in measurement.model.backbone.parameters()),
        "train_images": len(trained.train.feats),
        "test_images": len(trained.test.feats),
        "split": "validation" if cfg.data.validation_fraction else "test",
        "evaluation": OmegaConf.to_container(evaluation),
        "protocols": {key: describe(key, results["trained"]) for key in PROTOCOLS},
        "results": results,
        "train_indices": index_record(data.train_set.indices),
        "long_tail": long_tail_results(
            data.train_set.targets,
            data.info.num_classes,
            {name: (item.train, item.test) for name, item in rows.items()},
            results,
        ),
    }


def publish(
    loaded: LoadedRun,
    data: PretrainDataModule,
    out: Path,
    measurement: Measurement,
    result: dict[str, Any],
    console: Console,
) -> None:
    """Draw the pictures, write the result to `out` and print it."""
    run = loaded.folder
    if result["evaluation"]["pictures"]:
        plots = run.plots if out == run.result else out.with_suffix("")
        draw_run(plots, run, measurement.model, measurement.rows, result, data, console)
    if measurement.probe and out == run.result:
        save_head(run, LinearHead.of(measurement.probe, data.info.class_names))
    run.write_result(result) if out == run.result else write_json(out, signed(result))
    show(result, run, console, out)
    own = out == run.result
    lines = verdict(
        result["results"],
        result["test_images"],
        last_loss(run) if own else None,
        measurement.model.chance_loss(),
    )
    for line in lines if own else ():
        console.print(line, soft_wrap=True, highlight=False)


def evaluate_again(
    path: Path,
    changes: dict[str, Any],
    console: Console,
    data: str | None = None,
    **where: Any,
) -> dict[str, Any]:
    """Measure a run folder or a checkpoint inside one again, with some settings changed.

    Args:
        path: the run folder or checkpoint.
        changes: keys of the config's `evaluation` section, and their values.
        console: where the table is printed.
        data: name of another data set; None means the run's own.
        **where: as in `LoadedRun.data`.

    Raises:
        UserError: `path` is neither a run folder nor a checkpoint.
    """
    given = LoadedRun(path).cfg.evaluation
    given.update(changes | {"enabled": True})
    check_evaluation(given)
    return evaluate_run(path, given, console, other=data, **where)


def numbers(
    item: Measured, data: PretrainDataModule, evaluation: DictConfig, probe: ProbeResult | None
) -> dict[str, Any]:
    """Run every protocol on one set of features; `probe` is its linear probe, if it is fitted."""
    return evaluate_features(
        item.train,
        item.test,
        num_classes=max(1, data.info.num_classes),
        knn_k=min(evaluation.knn_k, max(1, item.train.labelled)),
        knn_temperature=evaluation.knn_temperature,
        views=item.views,
        linear=probe or evaluation.linear,
        device=data.eval_device,
    )
