"""The commands that use a trained backbone on image files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from solo_registry.cli.output import print_table, say

RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or the beginning of its path or hash.")
]
Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGES...", help="A folder of images, or image files.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; a GPU if there is one.")]
TABLES = "Path of the table: .parquet, .csv, .json or .npz."
ROWS = 20  # rows that a terminal shows


def embed(
    run: RunName,
    images: Images,
    out: Annotated[Path, typer.Option(help=TABLES)],
    device: Device = None,
) -> None:
    """Write the features of image files, one row a file: dyntemp embed RUN photos --out x.parquet.

    Images are preprocessed as in the run's evaluation.
    """
    from solo_registry.inference.tables import check_table_path, write_table

    check_table_path(out)
    table = _open(run, device).embed(_source(images))
    write_table(table, out)
    say(f"{len(table)} images, {table.shape[1]} features each: {out}")


def predict(
    run: RunName,
    images: Images,
    by: Annotated[str, typer.Option(help="probe (the run's), or knn (training images).")] = "probe",
    k: Annotated[int | None, typer.Option(help="Neighbours for --by knn.")] = None,
    out: Annotated[Path | None, typer.Option(help=TABLES)] = None,
    device: Device = None,
) -> None:
    """Predict the classes of image files, with probabilities: dyntemp predict RUN photos.

    The probabilities are not calibrated. The classes are those of the run's training images.
    """
    from solo_registry.inference.tables import check_table_path, write_table

    if out is not None:
        check_table_path(out)
    table = _open(run, device).predict(_source(images), by, k)
    if out is not None:
        write_table(table, out)
    shown = table[["predicted", "probability"]].reset_index()
    print_table(shown.head(ROWS), f"{len(table)} images, by {by}")
    if len(table) > ROWS:
        say(f"... {len(table) - ROWS} more" + ("" if out else "; --out FILE writes them all"))
    counts = table["predicted"].value_counts()
    say("predicted: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    if out is not None:
        say(f"all {len(table)} rows: {out}")


def neighbours(
    run: RunName,
    image: Annotated[Path, typer.Argument(help="An image file.")],
    k: Annotated[int, typer.Option(help="How many.")] = 8,
    among: Annotated[
        Path | None, typer.Option(help="A folder to search, instead of the training images.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Path of the picture.")] = Path("neighbours.png"),
    device: Device = None,
) -> None:
    """Draw the images nearest to an image: dyntemp neighbours RUN photo.jpg."""
    found = _open(run, device).neighbours(image, k, among, out)
    print_table(found, f"nearest to {image}")
    say(f"picture: {out}")


COMMANDS = (embed, predict, neighbours)


def _open(name: str, device: str | None) -> Any:
    from solo_registry.api import Run

    return Run.open(name, device=device)


def _source(images: list[Path]) -> Any:
    return images[0] if len(images) == 1 else images
