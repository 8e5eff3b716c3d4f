"""How often a board's verdicts are wrong: boards without any difference, simulated.

A simulated board is tuned, selected, run and tested as a real one. Its strategies are equal, so
every win or loss is false. The noise is what a board measured, or what the user states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from solo_registry.errors import UserError
from solo_registry.leaderboard.rows import Table
from solo_registry.leaderboard.statistics import LEVEL, Array, half_width, holm, verdicts

SPLITS = 10  # validation splits; each has its share of the boards
TUNINGS = 4000  # simulated to know the expected result of a strategy with its tuning


@dataclass(frozen=True)
class Noise:
    """What varies, in points of the metric.

    Attributes:
        run: deviation of a final run, without what all strategies share under one seed.
        tuning: the same of a tuning run.
        split: deviation of a point's value on the held-out images from that on test images, which
            stays over all seeds.
        landscape: true values of a strategy's points, the best first.
    """

    run: float
    tuning: float
    split: float
    landscape: tuple[float, ...]


@dataclass(frozen=True)
class Design:
    """How a board compares.

    Attributes:
        points: how many points of each strategy differ; the reference first.
        tuning_seeds: runs of each point.
        seeds: final runs of each strategy.
        tunings: independent tunings of each strategy; they share out both kinds of seeds.
        alpha: chance of any false win or loss.
        margin: differences within it are called equivalent.
    """

    points: tuple[int, ...]
    tuning_seeds: int
    seeds: int
    tunings: int
    alpha: float
    margin: float


@dataclass(frozen=True)
class Rates:
    """Shares of the simulated boards.

    Attributes:
        wins: boards with any false win.
        losses: boards with any false loss.
        verdicts: boards with any false win, loss or equivalence.
        covered: uncorrected intervals that hold the strategies' true difference, that is of their
            expected results over tunings and seeds.
        selected: uncorrected intervals that hold the true difference of the selected points.
        together: boards on which all corrected intervals hold the strategies' true difference.
        equivalent: rows called equivalent.
        power: rows called a win, if each strategy is better than the reference by the margin.
    """

    wins: float
    losses: float
    verdicts: float
    covered: float
    selected: float
    together: float
    equivalent: float
    power: float


def measure(table: Table) -> Noise:
    """Measure the noise of a board.

    A tuning run's noise is the scatter of points over tuning seeds. With one seed it cannot be told
    from the split's, so all scatter between tuned and final means counts as noise of the run.

    Raises:
        UserError: fewer than two strategies have numbers.
    """
    rows = [row for row in table.rows if row.values(table.metric)]
    if len(rows) < 2:
        raise UserError(f"noise needs two strategies with numbers, '{table.title}' has {len(rows)}")
    finals = [row.values(table.metric) for row in rows]
    common = sorted(set.intersection(*(set(values) for values in finals)))
    run = _residual(np.array([[values[seed] for seed in common] for values in finals]))
    grids, steps = [], []
    for row, values in zip(rows, finals, strict=True):
        choice = table.selected.get(row.name)
        tried = [list(point.values.values()) for point in choice.points] if choice else []
        if len(tried) > 1 and len({len(each) for each in tried}) == 1 and tried[0]:
            grids.append(np.array(tried))
            steps.append(np.mean(list(values.values())) - grids[-1].mean(1).max())
    if not grids:
        return Noise(run, 0.0, 0.0, (0.0,))
    seeds = grids[0].shape[1]
    scatter = np.var(steps, ddof=1) if len(steps) > 1 else 0.0
    scatter = max(0.0, float(scatter) - run**2 / len(common))
    if seeds > 1:
        tuning = float(np.sqrt(np.mean([_residual(grid) ** 2 for grid in grids])))
        split = float(np.sqrt(max(0.0, scatter - tuning**2 / seeds)))
    else:
        tuning, split = float(np.sqrt(scatter)), 0.0
    size = min(len(grid) for grid in grids)
    means = [np.sort(grid.mean(1))[::-1][:size] for grid in grids]
    within = float(np.mean([grid.mean(1).var(ddof=1) for grid in grids]))
    real = max(0.0, 1 - (tuning**2 / seeds + split**2) / within) if within else 0.0
    drops = np.sqrt(real) * np.mean([mean - mean[0] for mean in means], axis=0)
    return Noise(run, tuning, split, tuple(drops.tolist()))


def _residual(values: Array) -> float:
    """Return the deviation that neither row nor column explains."""
    rows, columns = values.shape
    if rows < 2 or columns < 2:
        return 0.0
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    return float(np.sqrt((rest**2).sum() / (rows - 1) / (columns - 1)))


def simulate(design: Design, noise: Noise, boards: int = 1000, seed: int = 0) -> Rates:
    """Simulate boards whose strategies are equal.

    Args:
        design: how they compare.
        noise: what varies. A strategy with fewer points has some of `landscape`, the best included.
        boards: how many.
        seed: of the random numbers.
    """
    generator = np.random.default_rng(seed)
    parts = [_part(design, noise, boards // SPLITS, generator) for _ in range(SPLITS)]
    return Rates(*np.mean(parts, axis=0).tolist())


def _part(
    design: Design, noise: Noise, boards: int, generator: np.random.Generator
) -> tuple[float, ...]:
    """Return the rates of boards that share one validation split."""
    shift = noise.split * generator.normal(size=len(noise.landscape))
    expected: dict[int, float] = {}
    values, results = [], []
    for count in design.points:
        true, seen = _family(noise, shift, count)
        if count not in expected:
            found = _selected(true, seen, design, noise, TUNINGS, generator)
            expected[count] = float(found.mean())
        values.append(_selected(true, seen, design, noise, boards, generator))
        results.append(expected[count])
    chosen = np.stack(values, axis=1)  # (boards, strategies, tunings)
    owner = np.arange(design.seeds) % design.tunings
    final = chosen[:, :, owner] + noise.run * generator.normal(
        size=(boards, len(design.points), design.seeds)
    )
    gaps = final[:, 1:] - final[:, :1]
    if design.tunings > 1:
        gaps = np.stack([gaps[:, :, owner == i].mean(2) for i in range(design.tunings)], axis=2)
    truth = np.array(results[1:]) - results[0]
    picked = (chosen[:, 1:] - chosen[:, :1]).mean(2)
    return _rates(gaps, truth, picked, design)


def _family(noise: Noise, shift: Array, count: int) -> tuple[Array, Array]:
    """Return the values of a strategy's points on test images and on held-out ones."""
    landscape = np.array(noise.landscape)
    places = np.round(np.linspace(0, len(landscape) - 1, count)).astype(int)
    return landscape[places], (landscape + shift)[places]


def _selected(true: Array, seen: Array, design: Design, noise: Noise, boards: int,
              generator: np.random.Generator) -> Array:  # fmt: skip
    """Tune a strategy on each board; return the selected points' true values, (boards, tunings)."""
    share = design.tuning_seeds // design.tunings
    error = noise.tuning / np.sqrt(share)
    tuned = seen + error * generator.normal(size=(boards, design.tunings, len(seen)))
    return np.asarray(true[tuned.argmax(-1)])


def _rates(gaps: Array, truth: Array, picked: Array, design: Design) -> tuple[float, ...]:
    """Test the paired differences (boards, contrasts, pairs), and compare verdicts with truth."""
    n = gaps.shape[-1]
    mean, std = gaps.mean(-1), gaps.std(-1, ddof=1)
    own = half_width(std, n, 1 - LEVEL)

    def tested(mean: Array) -> tuple[Array, Array, NDArray[np.str_]]:
        p = 2 * stats.t.sf(abs(mean) * np.sqrt(n) / std, n - 1)
        half = half_width(std, n, holm(p, design.alpha)[1])
        found = verdicts(mean - half, mean + half, design.margin)
        return mean - half, mean + half, found

    low, high, found = tested(mean)
    win, loss = (found == "win") & (truth <= 0), (found == "loss") & (truth >= 0)
    equal = (found == "equivalent") & (abs(truth) >= design.margin)
    _, _, better = tested(mean - truth + design.margin)
    return (
        float(win.any(-1).mean()),
        float(loss.any(-1).mean()),
        float((win | loss | equal).any(-1).mean()),
        float((abs(mean - truth) <= own).mean()),
        float((abs(mean - picked) <= own).mean()),
        float(((low <= truth) & (truth <= high)).all(-1).mean()),
        float((found == "equivalent").mean()),
        float((better == "win").mean()),
    )
