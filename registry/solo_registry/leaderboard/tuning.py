"""Selects a point per strategy on the validation split, and records the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from solo_registry.jobs.job import Job
from solo_registry.leaderboard.suite import SuiteConfig
from solo_registry.runs.records import Record


def select(suite: SuiteConfig, records: Mapping[Job, Record]) -> dict[str, dict[str, Any]]:
    """Choose each strategy's point: the highest mean of the suite's metric over the tuning seeds.

    A point counts only if it has a value for every seed; of equal points the first wins.

    Args:
        suite: the suite.
        records: the record of each tuning job.

    Returns:
        By strategy: `point` (None if none can be selected), `why`, and all `points` with values.
    """
    return {name: _select(name, suite, records) for name in suite.strategies}


def _select(name: str, suite: SuiteConfig, records: Mapping[Job, Record]) -> dict[str, Any]:
    points = suite.strategies[name].points()
    if suite.tuning.points == 1:
        return {"point": list(points[0]), "why": "the suite gives one point, nothing to tune"}
    tried = [_tried(suite, point, [job for job in records if job.strategy == name and
                                   job.point == point], records) for point in points]  # fmt: skip
    whole = [entry for entry in tried if entry["mean"] is not None]
    if not whole:
        errors = sorted({error for entry in tried for error in entry["errors"].values()})
        why = f"no point has {suite.metric} for every seed: {'; '.join(errors) or 'not run'}"
        return {"point": None, "why": why, "points": tried}
    best = max(whole, key=lambda entry: float(entry["mean"]))
    why = (
        f"highest mean {suite.metric}, {best['mean']:.3f}, of {len(whole)} of {len(tried)} points "
        f"on {suite.tuning.validation_fraction:.0%} of train held out, "
        f"seeds {', '.join(map(str, suite.tuning.seeds))}"
    )
    return {"point": best["point"], "why": why, "points": tried}


def _tried(
    suite: SuiteConfig, point: Sequence[str], jobs: list[Job], records: Mapping[Job, Record]
) -> dict[str, Any]:
    values, errors = {}, {}
    for job in jobs:
        value = records[job].value(suite.metric)
        if value is None:
            errors[str(job.seed)] = records[job].problem or f"no {suite.metric}: no labels"
        else:
            values[str(job.seed)] = value
    whole = len(values) == len(suite.tuning.seeds)
    mean = fmean(values.values()) if whole else None
    return {"point": list(point), "mean": mean, "values": values, "errors": errors}
