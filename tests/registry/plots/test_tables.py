import io
import re

import pytest
from rich.console import Console

from solo_registry.plots.tables import result_html, result_table

SETTINGS = {"knn_k": 20, "knn_temperature": 0.1, "knn_distance": "cosine"}
RESULT = {
    "trained": {
        "knn_acc1": 90.126, "linear_acc1": 95.0, "uniformity": -3.0, "tolerance": 0.5,
        "alignment": 0.2, **SETTINGS,
    },
    "raw_pixels": {
        "knn_acc1": 96.0, "linear_acc1": 95.0, "uniformity": -1.0, "tolerance": 0.7,
        "alignment": None, **SETTINGS,
    },
}  # fmt: skip


def cells(table):
    return [[getattr(cell, "markup", cell) for cell in column.cells] for column in table.columns]


def test_rows_stand_in_order_and_best_values_are_bold():
    names, knn, linear, uniform, tolerant, aligned = cells(result_table(RESULT))
    assert names == ["raw pixels", "trained backbone"]
    assert knn == ["[bold]96.00[/bold]", "90.13"]
    assert linear == ["[bold]95.00[/bold]", "[bold]95.00[/bold]"]
    assert uniform == ["-1.000", "[bold]-3.000[/bold]"]
    assert tolerant == ["[bold]0.700[/bold]", "0.500"]
    assert aligned == ["-", "0.200"]


def test_other_rows_follow():
    result = RESULT | {"after_epoch_5": RESULT["trained"]}
    assert cells(result_table(result))[0][-1] == "after epoch 5"


def test_caption_names_the_protocols_of_what_was_measured():
    console = Console(width=100, file=io.StringIO())
    with console.capture() as capture:
        console.print(result_table(RESULT))
    text = capture.get()
    assert "kNN: weighted kNN, k=20, cosine, temperature 0.1" in text
    assert "linear probe: L-BFGS" in text
    assert "trained backbone" in text
    unlabelled = {"trained": {"uniformity": -1.0}}
    assert "kNN" not in str(result_table(unlabelled).caption)


def test_html_has_the_cells_and_the_caption_of_the_table():
    row = {"knn_acc1": 50.0, "knn_k": 9, "knn_temperature": 0.1, "knn_distance": "cosine"}
    page = result_html({"after_<b>": row, "raw_pixels": RESULT["raw_pixels"]}, 100, "validation")
    assert re.findall(r"<th>(\D*?)</th>", page)[-2:] == ["raw pixels", "after &lt;b&gt;"]
    shown = re.findall(r"<td>(.*)</td>", page)
    assert shown[:2] == ["<b>96.00 ± 1.96</b>", "95.00 ± 2.18"]
    assert shown[5:] == ["50.00 ± 5.00", "-", "-", "-", "-"]
    assert "share of 100 validation images<br>kNN: " in page


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        result_table({})
