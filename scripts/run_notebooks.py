"""Run the notebooks of examples/notebooks and keep their outputs in them.

    python scripts/run_notebooks.py                                    # all of them
    python scripts/run_notebooks.py examples/notebooks/own_images.ipynb

Each runs in an empty folder, as a reader's first time. What changes from run to run without meaning
(times of cells, ids of the kernel) is left out, so that a diff shows numbers and pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
SECONDS = 900  # a cell


def executed(path: Path, folder: Path) -> Any:
    """Return the notebook with the outputs of running it in `folder`.

    Raises:
        CellExecutionError: a cell fails.
    """
    book = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        book, timeout=SECONDS, kernel_name="python3", resources=resources, coalesce_streams=True
    ).execute()
    for cell in book.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.pop("metadata", None) if output.output_type == "stream" else None
    book.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return book


def main() -> None:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=sorted(FOLDER.glob("*.ipynb")))
    for path in parser.parse_args().paths:
        with tempfile.TemporaryDirectory() as folder:
            book = executed(path, Path(folder))
        nbformat.write(book, path)
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
