"""The result of a run as a table, on the terminal or as HTML."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping

import pandas as pd
from rich.table import Table
from rich.text import Text

from solo_registry.metrics.accuracy import standard_error
from solo_registry.metrics.protocol import Result, describe

ROW_NAMES = {
    "raw_pixels": "raw pixels",
    "untrained": "untrained backbone",
    "initial_weights": "initial weights",
    "trained": "trained backbone",
}
"""The names of the rows in the table, in their order."""

_COLUMNS: dict[str, tuple[str, str, Callable[[Iterable[float]], float]]] = {
    "knn_acc1": ("kNN (%)", ".2f", max),
    "linear_acc1": ("linear probe (%)", ".2f", max),
    "uniformity": ("uniformity", ".3f", min),
    "tolerance": ("tolerance", ".3f", max),
    "alignment": ("alignment", ".3f", min),
}


def result_table(
    result: Mapping[str, Result],
    *,
    title: str = "Frozen features",
    images: int | None = None,
    split: str = "test",
) -> Table:
    """Lay out the measures of raw pixels, untrained and trained backbone.

    The best value of each column is bold: the highest accuracy and tolerance, the lowest uniformity
    and alignment. A measure that was not taken shows as a dash. The caption names the protocols.

    Args:
        result: results of `evaluate_features` by "raw_pixels", "untrained", "trained"; other names
            follow these.
        title: title of the table.
        images: number of images that the accuracies are of; with it, each gets its standard error.
        split: what these images are, "test" or "validation".

    Returns:
        A Rich table.

    Raises:
        ValueError: if `result` is empty.

    >>> table = result_table({"trained": {"tolerance": 0.5}, "raw_pixels": {"tolerance": 0.25}})
    >>> list(table.columns[0].cells), [cell.markup for cell in table.columns[4].cells]
    (['raw pixels', 'trained backbone'], ['0.250', '[bold]0.500[/bold]'])
    """
    if not result:
        raise ValueError("result must hold at least one row, got none")
    caption = _caption(result, images, split)
    table = Table(title=title, caption=caption, caption_justify="left")
    table.add_column("features", no_wrap=True)
    for heading, _, _ in _COLUMNS.values():
        least = None if "%" in heading else len(heading)  # accuracies may take two lines
        table.add_column(heading, justify="right", min_width=least)
    for name in _ordered(result):
        table.add_row(_row_name(name), *(_cell(result, name, key, images) for key in _COLUMNS))
    return table


def result_html(result: Mapping[str, Result], images: int | None, split: str) -> str:
    """Return `result_table` as HTML, for notebooks."""
    rows = {
        html.escape(_row_name(name)): {
            heading: _html(_cell(result, name, key, images))
            for key, (heading, _, _) in _COLUMNS.items()
        }
        for name in _ordered(result)
    }
    table = pd.DataFrame.from_dict(rows, orient="index").to_html(escape=False)
    caption = html.escape(_caption(result, images, split)).replace("\n", "<br>")
    return f"{table}\n<small>{caption}</small>"


def _html(cell: Text) -> str:
    return f"<b>{cell.plain}</b>" if cell.style == "bold" else cell.plain


def frame_table(frame: pd.DataFrame, title: str) -> Table:
    """Lay out a DataFrame: numbers to the right with three digits at most, nothing as a dash."""
    table = Table(title=title)
    for name in frame.columns:
        right = pd.api.types.is_numeric_dtype(frame[name])
        table.add_column(str(name), justify="right" if right else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(_text(value)) for value in row))
    return table


def _text(value: object) -> str:
    if value is None or value is pd.NaT or value != value:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _ordered(result: Mapping[str, Result]) -> list[str]:
    known = [name for name in ROW_NAMES if name in result]
    return known + [name for name in result if name not in ROW_NAMES]


def _row_name(name: str) -> str:
    return ROW_NAMES.get(name, name.replace("_", " "))


def _cell(result: Mapping[str, Result], name: str, key: str, images: int | None) -> Text:
    _, form, best = _COLUMNS[key]
    value = result[name].get(key)
    if value is None:
        return Text("-")
    others = [float(other) for row in result.values() if (other := row.get(key)) is not None]
    text = format(float(value), form)
    if images and key in ("knn_acc1", "linear_acc1"):
        text = f"{text} ± {standard_error(float(value), images):.2f}"
    return Text(text, "bold" if len(others) > 1 and float(value) == best(others) else "")


def _caption(result: Mapping[str, Result], images: int | None, split: str) -> str:
    lines = []
    if images:
        lines.append(f"± is the standard error of a share of {images} {split} images")
    for key, (heading, _, _) in _COLUMNS.items():
        row = next((row for row in result.values() if row.get(key) is not None), None)
        if row is not None:
            lines.append(f"{heading.removesuffix(' (%)')}: {describe(key, row)}")
    return "\n".join(lines)
