"""Writes the pictures of a measured run, and prints its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from solo_registry.data.module import PretrainDataModule
from solo_registry.evaluation.features import Measured
from solo_registry.methods.base import BaseMethod
from solo_registry.metrics.long_tail import summary
from solo_registry.paths import exists
from solo_registry.plots.tables import result_table
from solo_registry.runs.run_folder import RunFolder


def draw_run(
    plots: Path,
    run: RunFolder,
    model: BaseMethod,
    measured: dict[str, Measured],
    result: dict[str, Any],
    data: PretrainDataModule,
    console: Console,
) -> None:
    """Write the pictures of a run; one that fails is left out with a warning."""
    from solo_registry.plots.comparison import comparison_bars
    from solo_registry.plots.curves import training_curves
    from solo_registry.plots.feature_map import feature_map
    from solo_registry.plots.mechanism import mechanism_picture, trajectory_picture
    from solo_registry.plots.style import attempt
    from solo_registry.plots.temperature import temperature_picture

    with console.status("drawing"):
        if exists(run.metrics):
            attempt(training_curves, run.metrics, plots / "training.png")
        if plots == run.plots:  # of the training itself, not of an earlier checkpoint
            mechanism, trajectory = (run.path / f"{n}.parquet" for n in ("mechanism", "trajectory"))
            if exists(mechanism):
                attempt(mechanism_picture, mechanism, plots / "mechanism.png")
            if exists(trajectory):
                attempt(trajectory_picture, trajectory, plots / "trajectory.png")
        start = measured.get("untrained", measured.get("initial_weights"))
        before = None if start is None else start.histogram
        after = measured["trained"].histogram
        s = torch.linspace(-1, 1, 401)
        tau = model.temperature_curve(s.to(model.device))
        if after is not None:
            curve = None if tau is None else (s, tau.detach().cpu())
            out = plots / "temperature.png"
            attempt(temperature_picture, after, curve, out, before=before)
        trained = measured["trained"].test
        attempt(
            feature_map,
            trained.feats,
            trained.targets,
            data.info.class_names,
            plots / "features.png",
            method=result["evaluation"]["map"],
        )
        attempt(comparison_bars, result["results"], plots / "comparison.png")


def show(result: dict[str, Any], run: RunFolder, console: Console, out: Path | None = None) -> None:
    """Print the table and the paths of the files."""
    title = "Frozen features"
    if result["dataset"] != result.get("pretrained_on", result["dataset"]):
        source = result["pretrained_on"]
        title = f"{title} of {result['dataset']}, by a backbone, mean and std of {source}"
    table = result_table(
        result["results"], title=title, images=result["test_images"], split=result["split"]
    )
    console.print(table)
    if result.get("long_tail"):
        console.print(summary(result["long_tail"]), soft_wrap=True)
    place = f"{run.path}: numbers in result.json, pictures in plots/"
    if out not in (None, run.result):
        place = f"numbers in {out}"
    console.print(place, soft_wrap=True, highlight=False)
    if result["results"]["trained"]["knn_acc1"] is None:
        console.print("no accuracies: the data have no labelled validation images (data.val_path)")
