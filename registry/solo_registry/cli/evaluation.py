"""The commands that measure a finished run, and the command that exports its backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from solo_registry.errors import UserError

Run = Annotated[Path, typer.Argument(help="A run folder, or a checkpoint inside one.")]
Data = Annotated[
    str | None,
    typer.Option(metavar="NAME|PATH", help="Another data set, or own images: transfer."),
]
DataPath = Annotated[str | None, typer.Option(help="Path of the other data set.")]
ValPath = Annotated[str | None, typer.Option(help="Its test images, for image folders.")]
NoLabels = Annotated[
    bool, typer.Option("--no-labels", help="The other images have no labels: geometry alone.")
]
Download = Annotated[bool, typer.Option(help="Download the other data set if it is not on disk.")]
Labels = Annotated[float, typer.Option(help="Share of the labels of each class, such as 0.01.")]
Untrained = Annotated[bool, typer.Option(help="Start from untrained weights: the baseline.")]
Epochs = Annotated[int, typer.Option(help="Passes over the images.")]
Rate = Annotated[float, typer.Option(help="Learning rate per 256 images.")]
BatchSize = Annotated[int, typer.Option(help="Images per step.")]


def evaluate(
    ctx: typer.Context,
    run: Annotated[Path | None, typer.Argument(help="A run; none with --weights.")] = None,
    knn_k: Annotated[int | None, typer.Option(help="Neighbours of kNN.")] = None,
    knn_temperature: Annotated[float | None, typer.Option(help="Temperature of kNN.")] = None,
    max_train: Annotated[int | None, typer.Option(help="Training images used at most.")] = None,
    pictures: Annotated[bool, typer.Option(help="Draw the pictures again.")] = True,
    plane: Annotated[str | None, typer.Option("--map", help="Of the features: tsne, umap.")] = None,
    data: Data = None,
    data_path: DataPath = None,
    val_path: ValPath = None,
    no_labels: NoLabels = False,
    download: Download = False,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of another program, in place of RUN.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Their backbone: timm/resnet50.")] = None,
    out: Annotated[Path | None, typer.Option(help="Path of the JSON, with --weights.")] = None,
) -> None:
    """Measure a run again: kNN, linear probe, geometry; also raw pixels and untrained backbone.

    With --data the same protocols measure another data set; the result is a file of its own.
    With --weights they measure any torch, timm, lightly or solo-learn checkpoint. Overrides
    choose the data: dyntemp evaluate --weights x.pth --backbone timm/resnet50 data=cifar10.
    """
    overrides = [*([str(run)] if run else []), *ctx.args]
    if weights is not None or run is None:
        evaluate_file(weights, backbone, overrides, out)
        return
    if ctx.args:
        raise UserError(
            f"'{ctx.args[0]}' is no option of evaluate; with RUN, use --data and others"
        )
    from solo_registry.evaluation.run import evaluate_again

    changes = {
        "knn_k": knn_k,
        "knn_temperature": knn_temperature,
        "max_train": max_train,
        "map": plane,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    where = other_data(data, data_path, val_path, download) | {"no_labels": no_labels}
    evaluate_again(run, {**given, "pictures": pictures}, _console(), **where)


def other_data(
    data: str | None, path: str | None, val_path: str | None, download: bool
) -> dict[str, Any]:
    """Return the keywords that name other data; `--data PATH` is the path of own images."""
    where = {"data": data, "train_path": path, "val_path": val_path, "download": download}
    if data is not None and path is None:
        from solo_registry.catalog.registry import DATASETS
        from solo_registry.config.own_data import named_or_own

        where["data"], own = named_or_own(data, list(DATASETS))
        where |= {key: found for key, found in own.items() if where[key] is None}
    return where


def evaluate_file(
    weights: Path | None, backbone: str | None, overrides: list[str], out: Path | None
) -> None:
    """Measure weights that no run of ours made."""
    if weights is None or backbone is None:
        raise UserError(
            "name a run, or weights with their backbone: dyntemp evaluate RUN, or "
            "dyntemp evaluate --weights x.pth --backbone timm/resnet50 data=cifar10"
        )
    from solo_registry.evaluation.weights import evaluate_weights

    evaluate_weights(weights, backbone, overrides, out, _console())


def knn(
    run: Run,
    k: Annotated[str, typer.Option(help="Numbers of neighbours.")] = "1,10,20,200",
    temperature: Annotated[str, typer.Option(help="Temperatures of the cosine.")] = "0.1",
    distance: Annotated[str, typer.Option(help="cosine, euclidean or both.")] = "cosine",
    data: Data = None,
    data_path: DataPath = None,
    val_path: ValPath = None,
    download: Download = False,
) -> None:
    """Weighted kNN for lists of k, temperatures and distances: dyntemp knn RUN --k 1,10,200."""
    from solo_registry.evaluation.knn_grid import knn_grid

    knn_grid(
        run,
        _console(),
        k=[int(each) for each in _numbers("--k", k, whole=True)],
        temperatures=_numbers("--temperature", temperature),
        distances=[part.strip() for part in distance.split(",")],
        **other_data(data, data_path, val_path, download),
    )


def classifier(
    name: str, text: str, *, frozen: bool, epochs: int, lr: float
) -> Callable[..., None]:
    """Make a command that trains a classifier on a run's backbone; the recipe gives defaults."""

    def command(
        run: Run,
        labels: Labels = 1.0,
        epochs: Epochs = epochs,
        lr: Rate = lr,
        batch_size: BatchSize = 256,
        untrained: Untrained = False,
        data: Data = None,
        data_path: DataPath = None,
        val_path: ValPath = None,
        download: Download = False,
    ) -> None:
        from solo_registry.evaluation.classifier import Recipe
        from solo_registry.evaluation.classify import classify

        recipe = Recipe(frozen, epochs, lr, labels, batch_size, pretrained=not untrained)
        classify(run, recipe, _console(), **other_data(data, data_path, val_path, download))

    command.__name__, command.__doc__ = name, text
    return command


linear = classifier(
    "linear",
    "Linear probe by SGD on the frozen backbone, the paper's recipe; last epoch.",
    frozen=True,
    epochs=90,
    lr=0.1,
)
finetune = classifier(
    "finetune",
    "Train the whole network with a share of the labels: dyntemp finetune RUN --labels 0.1.",
    frozen=False,
    epochs=30,
    lr=0.05,
)


def export(
    run: Run,
    to: Annotated[str, typer.Option(help="timm, huggingface, torch or onnx.")] = "timm",
    out: Annotated[Path | None, typer.Option(help="Folder; default: export/ in the run.")] = None,
) -> None:
    """Write the backbone as safetensors with a model card: result, tau curve, recipe."""
    from solo_registry.export.folder import export_run

    export_run(run, to, out, _console())


COMMANDS = (evaluate, knn, linear, finetune, export)


def _console() -> Any:
    from solo_registry.console import terminal

    return terminal()


def _numbers(option: str, text: str, *, whole: bool = False) -> list[float]:
    try:
        return [int(part) if whole else float(part) for part in text.split(",")]
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"{option} takes {kind} with commas between them, got '{text}'") from None
