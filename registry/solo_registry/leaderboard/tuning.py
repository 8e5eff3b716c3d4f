"""Selects a point per strategy on the validation split, and records the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from solo_registry.jobs.job import Job
from solo_registry.leaderboard.board import Choice, Tried
from solo_registry.leaderboard.extension import extension, on_border
from solo_registry.leaderboard.knobs import Point, Setting, settings, spelled
from solo_registry.leaderboard.suite import SuiteConfig
from solo_registry.runs.records import Record, unlike

Range = tuple[float, float] | None
Ranges = Callable[[str, Point], Range]
"""Strategy and point -> lowest and highest temperature."""


def select(
    suite: SuiteConfig, records: Mapping[Job, Record], ranges: Ranges = lambda name, point: None
) -> dict[str, Choice]:
    """Choose each strategy's point: the highest mean of the suite's metric over the tuning seeds.

    A point counts only if it has a value for every seed; of equal points the first wins.

    Args:
        suite: the suite.
        records: the record of each tuning job, those of the extended grid included.
        ranges: the temperatures of a point, which are written down with it.

    Returns:
        By strategy: its point (None if none can be selected), why, and all points with values.
    """
    return {name: _select(name, suite, records, ranges) for name in suite.strategies}


def further(suite: SuiteConfig, records: Mapping[Job, Record]) -> dict[str, list[Setting]]:
    """Return the settings by which the grid of each strategy is extended, of its grid's runs."""
    return {
        name: extension(
            strategy,
            [(setting, tried.mean) for setting, tried in _grid(name, suite, records)],
            suite.tuning.extra,
        )
        for name, strategy in suite.strategies.items()
    }


def _grid(
    name: str, suite: SuiteConfig, records: Mapping[Job, Record]
) -> list[tuple[Setting, Tried]]:
    """Return the settings of a strategy's grid, with what their runs measured."""
    grid = settings(suite.strategies[name].grid)
    return list(zip(grid, _tried(name, suite, grid, records), strict=True))


def _select(name: str, suite: SuiteConfig, records: Mapping[Job, Record], ranges: Ranges) -> Choice:
    strategy, budget = suite.strategies[name], suite.tuning
    if budget.points == 1:
        return Choice(list(strategy.points()[0]), "the suite gives one point, nothing to tune")
    grid = _grid(name, suite, records)
    means = [(setting, entry.mean) for setting, entry in grid]
    added = extension(strategy, means, budget.extra)
    known = [setting for setting, _ in grid] + added
    tried = [entry for _, entry in grid] + _tried(name, suite, added, records)
    for entry in tried:
        entry.temperatures = ranges(name, tuple(entry.point))
    found = [(entry.mean, place) for place, entry in enumerate(tried) if entry.mean is not None]
    if not found:
        errors = sorted({error for entry in tried for error in entry.errors.values()})
        why = f"no point has {suite.metric} for every seed: {'; '.join(errors) or 'not run'}"
        return Choice(None, why, tried)
    mean, place = max(found, key=lambda each: each[0])
    where = f", {len(added)} of them next to the best of the grid" if added else ""
    why = (
        f"highest mean {suite.metric}, {mean:.3f}, of {len(found)} of {len(tried)} points{where} "
        f"on {budget.validation_fraction:.0%} of train held out, "
        f"seeds {', '.join(map(str, budget.seeds))}"
    )
    notes = on_border(strategy, known, known[place]) + _constant(tried, tried[place])
    return Choice(tried[place].point, why, tried, notes)


def _constant(tried: Sequence[Tried], chosen: Tried) -> list[str]:
    """Name a point that is the fixed temperature, of a strategy whose other points are not."""
    own = chosen.temperatures
    moves = any(entry.temperatures and len(set(entry.temperatures)) == 2 for entry in tried)
    if own is None or own[0] < own[1] or not moves:
        return []
    return [f"its lowest and highest temperature are {own[0]:g}: it is the fixed temperature"]


def _tried(
    name: str, suite: SuiteConfig, wanted: Sequence[Setting], records: Mapping[Job, Record]
) -> list[Tried]:
    """Return what the runs of some settings of a strategy measured."""
    own = {job: record for job, record in records.items() if job.strategy == name}
    bad = unlike(own.values())
    tried = []
    for point in map(spelled, wanted):
        values, errors = {}, {}
        for job, record in own.items():
            if job.point != point:
                continue
            value = record.value(suite.metric)
            problem = bad.get((record.hash, record.seed)) or record.problem
            if problem or value is None:
                errors[str(job.seed)] = problem or f"no {suite.metric}: no labels"
            else:
                values[str(job.seed)] = value
        whole = len(values) == len(suite.tuning.seeds)
        mean = fmean(values.values()) if whole else None
        tried.append(Tried(list(point), mean, values, errors))
    return tried
