"""The table at the end of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.table import Table

from solo_registry.plots.tables import frame_table
from solo_registry.runs.records import read_record


def runs_table(done: Mapping[Path, str]) -> Table:
    """Lay out the results of runs, a row each.

    Args:
        done: the arguments of each run, by its folder. What all have in common is the title.
    """
    words = {path: text.split() for path, text in done.items()}
    common = set.intersection(*map(set, words.values()))
    rows = []
    for path, own in words.items():
        record = read_record(path)
        rows.append(
            {
                "run": " ".join(word for word in own if word not in common),
                "kNN (%)": record.value("knn_acc1"),
                "linear probe (%)": record.value("linear_acc1"),
                "training (s)": record.cost.get("train_seconds"),
                "folder": str(path),
            }
        )
    title = " ".join(word for word in next(iter(words.values())) if word in common)
    return frame_table(pd.DataFrame(rows), f"{len(rows)} runs of {title}".removesuffix(" of "))
