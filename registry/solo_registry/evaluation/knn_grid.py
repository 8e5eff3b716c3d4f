"""kNN of a run for several k, temperatures and distances; the features are computed once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table

from solo_registry.config.resolve import check_evaluation
from solo_registry.errors import UserError, nearest
from solo_registry.evaluation.features import Splits, features_of
from solo_registry.metrics.knn import knn_accuracy
from solo_registry.metrics.neighbours import Distance
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.read import signed
from solo_registry.runs.run_folder import write_json


def knn_grid(
    path: Path,
    console: Console,
    *,
    k: Sequence[int],
    temperatures: Sequence[float],
    distances: Sequence[Any] = ("cosine",),
    data: str | None = None,
    **where: Any,
) -> dict[str, Any]:
    """Measure kNN on a run's features and write evaluations/knn.json.

    Args:
        path: a run folder, or a checkpoint inside one.
        console: where the table is printed.
        k: numbers of neighbours.
        temperatures: temperatures of the votes with the cosine.
        distances: "cosine", "euclidean" or both; "euclidean" has no temperature.
        data: name of another data set; None means the run's own.
        **where: as in `LoadedRun.data`.

    Returns:
        The content of the file. These are test accuracies: choose k and temperature before you
        look.

    Raises:
        UserError: no run there, a value out of its range, or data without labels.
    """
    known = get_args(Distance)
    for distance in distances:
        if distance not in known:
            hint = nearest(distance, known)
            raise UserError(f"unknown distance '{distance}'.{hint} Known: {', '.join(known)}")
    if not k or not temperatures:
        raise UserError("kNN needs at least one k and one temperature")
    run = LoadedRun(path)
    cfg = run.cfg
    for each, temperature in itertools.product(k, temperatures):
        cfg.evaluation.update(knn_k=each, knn_temperature=temperature)
        check_evaluation(cfg.evaluation)
    used = run.data(data, **where)
    model = run.untrained(initial=False)
    epochs = int(run.load_weights(model)["epoch"]) + 1
    train, test = features_of(model, Splits.of(used, cfg.evaluation), "features", console)
    if not (train.labelled and test.labelled):
        raise UserError(f"data set '{used.info.name}' has no labels on both sides")
    if left_out := [each for each in k if each > train.labelled]:
        text = f"k={','.join(map(str, left_out))} is more than the {train.labelled} labelled images"
        k = [each for each in k if each <= train.labelled]
        if not k:
            raise UserError(f"{text} of train")
        console.print(f"{text} of train, so it is left out", soft_wrap=True, highlight=False)
    rows: list[dict[str, Any]] = []
    for distance in distances:
        for temperature in temperatures if distance == "cosine" else (1.0,):
            found = knn_accuracy(
                train.feats, train.targets, test.feats, test.targets,
                k=k, temperature=temperature, num_classes=used.info.num_classes, distance=distance,
                device=used.eval_device,
            )  # fmt: skip
            shown = temperature if distance == "cosine" else None
            rows += [
                {"distance": distance, "temperature": shown, "k": each, "acc1": accuracy}
                for each, accuracy in found.items()
            ]
    result = {
        "schema_version": 1,
        "protocol": "weighted kNN on frozen features; top-1 %",
        "name": cfg.name,
        "config_hash": run.folder.hash,
        "seed": cfg.seed,
        "epochs": epochs,
        "dataset": used.info.name,
        "data_digest": used.digest,
        "train_images": train.labelled,
        "rows": rows,
    }
    out = run.file("knn", None if epochs >= cfg.max_epochs else epochs, data, used.digest)
    write_json(out, signed(result))
    table = Table("distance", "temperature", "k", "top-1 (%)", title="Weighted kNN")
    for row in rows:
        tau = "-" if row["temperature"] is None else f"{row['temperature']:g}"
        table.add_row(row["distance"], tau, str(row["k"]), f"{row['acc1']:.2f}")
    console.print(table)
    console.print(f"numbers in {out}", soft_wrap=True, highlight=False)
    return result
