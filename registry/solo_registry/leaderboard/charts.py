"""The figures of the page that react: Vega-Lite, inlined, so that the page needs no net.

Every figure is filtered by the page's list of hidden strategies, the signal `hidden`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from markupsafe import Markup

from solo_registry.leaderboard.figures import CURVE_LABELS, CURVES, average
from solo_registry.leaderboard.looks import looks
from solo_registry.leaderboard.rows import Row, Table
from solo_registry.plots.names import LABELS

SHOWN = {"filter": "indexof(hidden, datum.strategy) < 0"}


def library() -> Markup | None:
    """Return the JavaScript of Vega-Lite (BSD-3), 0.9 MB; None without the package that has it."""
    if find_spec("vl_convert") is None:
        return None
    import vl_convert

    text: str = vl_convert.javascript_bundle()
    return Markup(text.replace("</script", r"<\/script"))


def as_script(value: Any) -> Markup:
    r"""Return JSON that can stand in a page's script.

    >>> str(as_script("</script>"))
    '"\\u003c/script>"'
    """
    return Markup(json.dumps(value, sort_keys=True).replace("<", r"\u003c"))


def charts(table: Table) -> dict[str, dict[str, Any]]:
    """Return the figures that the table has data for: caption and Vega-Lite specification."""
    rows = [row for row in table.rows if row.values(table.metric)]
    made = {}
    if rows:
        made[f"{LABELS[table.metric]}: seeds, mean and 95% interval"] = _accuracy(table, rows)
    if any(row.comparison and row.comparison.half is not None for row in rows):
        made[f"paired differences from {table.reference}; the band is the margin"] = _forest(
            table, rows
        )
    for column in CURVES:
        if points := _curve(rows, column):
            made[f"{CURVE_LABELS[column]} by epoch, mean over seeds"] = _lines(
                table, points, CURVE_LABELS[column]
            )
    return made


def _spec(table: Table, layers: Sequence[dict[str, Any]], height: int) -> dict[str, Any]:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": height,
        "params": [{"name": "hidden", "value": []}],
        "layer": list(layers),
        "config": {"view": {"stroke": None}, "axis": {"gridColor": "#e3e8ee"}},
    }


def _colour(table: Table) -> dict[str, Any]:
    style = looks(row.name for row in table.rows)
    scale = {"domain": [*style], "range": [colour for colour, *_ in style.values()]}
    return {"field": "strategy", "type": "nominal", "scale": scale, "legend": None}


def _across(table: Table, title: str, y: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of a figure with one line per strategy."""
    return {
        "x": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": title},
        "y": {"field": "strategy", "type": "nominal", "sort": list(y), "title": None},
        "color": _colour(table),
    }


def _layer(
    mark: dict[str, Any], values: Sequence[dict[str, Any]], encoding: dict[str, Any], **x: Any
) -> dict[str, Any]:
    """Return a layer of a figure, which shows all of a value's fields at the pointer."""
    fields = [
        {"field": key, "format": ".4g"} if isinstance(value, float) else {"field": key}
        for key, value in values[0].items()
    ]
    return {"mark": mark, "encoding": {**encoding, **x, "tooltip": fields},
            "data": {"values": list(values)}, "transform": [SHOWN]}  # fmt: skip


def _accuracy(table: Table, rows: Sequence[Row]) -> dict[str, Any]:
    encoding = _across(table, LABELS[table.metric], [row.name for row in rows])
    seeds = [
        {"strategy": row.name, "seed": seed, "value": value}
        for row in rows
        for seed, value in row.values(table.metric).items()
    ]
    means: list[dict[str, Any]] = []
    for row in rows:
        found = row.summary(table.metric)
        assert found.mean is not None
        half = found.half or 0.0
        means.append({"strategy": row.name, "value": found.mean, "low": found.mean - half,
                      "high": found.mean + half, "n": found.n})  # fmt: skip
    low = {"x": {**encoding["x"], "field": "low"}, "x2": {"field": "high"}}
    layers = [
        _layer({"type": "rule", "strokeWidth": 2}, means, encoding, **low),
        _layer({"type": "point", "filled": True, "size": 90, "opacity": 1}, means, encoding),
        _layer({"type": "circle", "size": 40, "opacity": 0.45}, seeds, encoding),
    ]
    return _spec(table, layers, 60 + 24 * len(rows))


def _forest(table: Table, rows: Sequence[Row]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for row in rows:
        test = row.comparison
        if test is None or test.difference is None or test.half is None:
            continue
        low, high = test.interval or (test.difference - test.half, test.difference + test.half)
        found.append({"strategy": row.name, "value": test.difference, "low": low, "high": high,
                      "verdict": test.verdict, "p (Holm)": test.holm})  # fmt: skip
    found.sort(key=lambda row: -row["value"])
    title = f"{LABELS[table.metric]}: difference from {table.reference}"
    encoding = _across(table, title, [row["strategy"] for row in found])
    low_end = {"x": {**encoding["x"], "field": "low"}, "x2": {"field": "high"}}
    layers: list[dict[str, Any]] = []
    if table.family and table.question is not None:
        band = {"low": -table.question.margin, "high": table.question.margin}
        layers.append({"mark": {"type": "rect", "color": "#dde3ea", "opacity": 0.6},
                       "data": {"values": [band]},
                       "encoding": {"x": {**encoding["x"], "field": "low"},
                                    "x2": {"field": "high"}}})  # fmt: skip
    layers.append({"mark": {"type": "rule", "color": "#1f2933"}, "data": {"values": [{"zero": 0}]},
                   "encoding": {"x": {**encoding["x"], "field": "zero"}}})  # fmt: skip
    layers.append(_layer({"type": "rule", "strokeWidth": 2}, found, encoding, **low_end))
    layers.append(
        _layer({"type": "point", "filled": True, "size": 90, "opacity": 1}, found, encoding)
    )
    return _spec(table, layers, 60 + 24 * len(found))


def _curve(rows: Sequence[Row], column: str) -> list[dict[str, Any]]:
    points = []
    for row in rows:
        curves = [run.curve for run in row.runs.values() if not run.curve.empty]
        mean, std = average(curves, column)
        points += [
            {"strategy": row.name, "epoch": epoch + 1, "mean": value, "std": spread}
            for epoch, value, spread in zip(
                mean.index.tolist(), mean.tolist(), std.tolist(), strict=True
            )
        ]
    return points


def _lines(table: Table, points: list[dict[str, Any]], title: str) -> dict[str, Any]:
    encoding = {
        "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1}},
        "y": {"field": "mean", "type": "quantitative", "scale": {"zero": False}, "title": title},
        "color": _colour(table),
    }
    line = _layer({"type": "line", "point": {"size": 30}}, points, encoding)
    return _spec(table, [line], 300)
