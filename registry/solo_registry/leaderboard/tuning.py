"""Selects a point per strategy on the validation split, and records the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from solo_registry.jobs.job import Job
from solo_registry.leaderboard.board import Choice, Tried
from solo_registry.leaderboard.suite import SuiteConfig
from solo_registry.runs.records import Record, unlike


def select(suite: SuiteConfig, records: Mapping[Job, Record]) -> dict[str, Choice]:
    """Choose each strategy's point: the highest mean of the suite's metric over the tuning seeds.

    A point counts only if it has a value for every seed; of equal points the first wins.

    Args:
        suite: the suite.
        records: the record of each tuning job.

    Returns:
        By strategy: its point (None if none can be selected), why, and all points with values.
    """
    return {name: _select(name, suite, records) for name in suite.strategies}


def _select(name: str, suite: SuiteConfig, records: Mapping[Job, Record]) -> Choice:
    points = suite.strategies[name].points()
    if suite.tuning.points == 1:
        return Choice(list(points[0]), "the suite gives one point, nothing to tune")
    own = {job: record for job, record in records.items() if job.strategy == name}
    tried = [_tried(suite, point, own) for point in points]
    means = [entry.mean for entry in tried if entry.mean is not None]
    if not means:
        errors = sorted({error for entry in tried for error in entry.errors.values()})
        why = f"no point has {suite.metric} for every seed: {'; '.join(errors) or 'not run'}"
        return Choice(None, why, tried)
    best = next(entry for entry in tried if entry.mean == max(means))
    why = (
        f"highest mean {suite.metric}, {best.mean:.3f}, of {len(means)} of {len(tried)} points "
        f"on {suite.tuning.validation_fraction:.0%} of train held out, "
        f"seeds {', '.join(map(str, suite.tuning.seeds))}"
    )
    return Choice(best.point, why, tried)


def _tried(suite: SuiteConfig, point: Sequence[str], records: Mapping[Job, Record]) -> Tried:
    """Return what the runs of a point measured; `records` are those of its strategy."""
    values, errors, bad = {}, {}, unlike(records.values())
    for job, record in records.items():
        if job.point != point:
            continue
        value = record.value(suite.metric)
        problem = bad.get((record.hash, record.seed)) or record.problem
        if problem or value is None:
            errors[str(job.seed)] = problem or f"no {suite.metric}: no labels"
        else:
            values[str(job.seed)] = value
    whole = len(values) == len(suite.tuning.seeds)
    return Tried(list(point), fmean(values.values()) if whole else None, values, errors)
