"""The names of the numbers in pictures and tables."""

from __future__ import annotations

LABELS = {
    "knn_acc1": "kNN, %",
    "linear_acc1": "linear probe, %",
    "knn_balanced_acc1": "balanced kNN, %",
    "linear_balanced_acc1": "balanced linear probe, %",
    "uniformity": "uniformity",
    "tolerance": "tolerance",
    "alignment": "alignment",
    "inter_class_uniformity": "inter-class uniformity",
    "rankme": "RankMe",
}
DIGITS = {name: 2 for name in LABELS if name.endswith("acc1")} | {"rankme": 1}


def number(value: float | None, metric: str = "", *, sign: bool = False) -> str:
    """Format a number with the digits of its metric; None becomes a dash.

    >>> number(97.5, "knn_acc1"), number(0.5, "knn_acc1", sign=True), number(None)
    ('97.50', '+0.50', '-')
    """
    return "-" if value is None else f"{value:{'+' if sign else ''}.{DIGITS.get(metric, 3)}f}"
