"""The schema of a suite: strategies, the grid of each, and the reference of the comparison.

A suite is a YAML file of the config group `suite`, ours or a plugin's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from solo_registry.catalog.declared import Declared, shown
from solo_registry.config.data_schema import SEEDS
from solo_registry.config.keys import check_keys, key
from solo_registry.config.resolve import read_section
from solo_registry.config.settings import whole
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.job import SELECTING
from solo_registry.leaderboard.knobs import Point, bounds_of, check_knobs, settings, spelled
from solo_registry.leaderboard.question import QuestionConfig

MOST_SEEDS = 1000


@dataclass
class TuningConfig:
    """The budget of every strategy, on images held out of train; test images are not used."""

    points: int = key(1, "Number of settings in each strategy's grid.", least=1)
    extra: int = key(
        0, "Number of settings that each strategy tries next to the best of its grid, beyond the "
        "border if that lies on it.", least=0, most=20)  # fmt: skip
    seeds: list[int] = key([1001], "Different from the final seeds.", **SEEDS)
    replicates: int = key(
        1, "Independent tunings of each strategy. They share out tuning.seeds and the final seeds; "
        "with 2 or more, verdicts are about strategies, not about one selected setting.",
        least=1)  # fmt: skip
    validation_fraction: float = key(0.2, "Share of train that is held out.", above=0, below=1)


@dataclass
class StrategyConfig:
    """One row of the table: fixed arguments, and a grid of values to choose from."""

    words: list[str] = key(list, "Arguments of every run of it.")
    grid: dict[str, list[Any]] = key(
        dict, "Values of each knob, a key or the ratio KEY/KEY of two; every combination is a "
        "point.")  # fmt: skip
    bounds: dict[str, list[Any]] = key(
        dict, "Lowest and highest value of a knob in an extension of the grid.")  # fmt: skip
    about: str = key("", "What it is.")

    def points(self) -> list[Point]:
        """Return the arguments of each point of the grid.

        >>> StrategyConfig(grid={"a": [1, 2], "b": [3]}).points()
        [('a=1', 'b=3'), ('a=2', 'b=3')]
        >>> StrategyConfig().points()
        [()]
        """
        return [spelled(setting) for setting in settings(self.grid)]


@dataclass
class SuiteConfig:
    """A comparison."""

    about: str = key("", "What it compares.")
    words: list[str] = key(list, "Arguments of every run.")
    metric: str = key("knn_acc1", "Selects on validation and is tested in the report.",
                      choices=SELECTING)  # fmt: skip
    reference: str = key(MISSING, "The strategy that the others are tested against.")
    same_range: bool = key(
        True, "Refuse a grid whose temperatures do not reach as far as the reference's."
    )
    question: QuestionConfig = field(default_factory=QuestionConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    strategies: dict[str, StrategyConfig] = field(default_factory=dict)


def read_suite(name: str, node: Any, changes: Sequence[str], chosen: Sequence[str]) -> SuiteConfig:
    """Check a suite and return the chosen part of it.

    Args:
        name: its name, for error texts.
        node: its YAML.
        changes: arguments such as `tuning.seeds=[7,8]`.
        chosen: strategies to keep; empty keeps all.

    Raises:
        UserError: an unknown key or strategy, budgets that differ, or no reference.
    """
    suite = read_section("suite", SuiteConfig, node, changes)
    for strategy in (*chosen, suite.reference):
        if strategy not in suite.strategies:
            raise UserError(
                f"suite '{name}' has no strategy '{strategy}'.{nearest(strategy, suite.strategies)}"
                f" It has: {', '.join(suite.strategies)}"
            )
    if chosen and suite.reference not in chosen:
        raise UserError(
            f"'{suite.reference}' cannot be left out of suite '{name}': it is the reference of the "
            f"comparison. Write strategies={','.join([suite.reference, *chosen])}"
        )
    lost = set(suite.question.contrasts) & set(suite.strategies) - set(chosen)
    if chosen and lost:
        raise UserError(
            f"{', '.join(sorted(lost))} cannot be left out of suite '{name}': its question is "
            "about this. Ask another one by suite.question.contrasts"
        )
    if chosen:
        suite.strategies = {key: suite.strategies[key] for key in suite.strategies if key in chosen}
    check_suite(name, suite)
    return suite


def check_suite(name: str, suite: SuiteConfig) -> None:
    """Refuse values that no comparison can use, and budgets that differ."""
    check_keys(suite, SuiteConfig, "suite.")
    if not suite.tuning.seeds:
        raise UserError("suite.tuning.seeds names no seed")
    for row in suite.question.contrasts:
        if row not in suite.strategies or row == suite.reference:
            raise UserError(
                f"suite '{name}': question.contrasts names '{row}', which is no strategy beside "
                f"the reference.{nearest(row, suite.strategies)}"
            )
    if len(suite.tuning.seeds) % suite.tuning.replicates:
        raise UserError(
            f"suite.tuning.replicates={suite.tuning.replicates} does not divide the "
            f"{len(suite.tuning.seeds)} seeds of suite.tuning.seeds: each tuning gets as many"
        )
    for row, strategy in suite.strategies.items():
        where = f"suite '{name}': strategy '{row}'"
        check_knobs(where, strategy.grid, strategy.bounds)
        if suite.tuning.extra and not any(
            bounds_of(knob, strategy.grid, strategy.bounds) for knob in strategy.grid
        ):
            raise UserError(
                f"{where} has no knob of positive real numbers, so its grid cannot be extended; "
                "write suite.tuning.extra=0"
            )
        if (count := len(strategy.points())) != suite.tuning.points:
            raise UserError(
                f"{where} has {count} points in its grid, but every "
                f"strategy gets the same budget of suite.tuning.points={suite.tuning.points}"
            )


def parse_seeds(text: str) -> list[int]:
    """Read `5` as the seeds 1 to 5, and `[3,7]` or `3,7` as these two.

    Raises:
        UserError: the text is neither, or names a seed twice.

    >>> parse_seeds("3"), parse_seeds("[4,9]"), parse_seeds("7,")
    ([1, 2, 3], [4, 9], [7])
    """
    parts = [part.strip() for part in text.strip("[]").split(",") if part.strip()]
    seeds = [number for part in parts if (number := whole(part)) is not None]
    if not seeds or len(seeds) < len(parts):
        raise UserError(
            f"seeds must be a number of seeds or a list such as [3,7], got {shown(text)}"
        )
    if "," in text or text.startswith("["):
        if len(set(seeds)) < len(seeds):
            raise UserError(f"seeds names a seed twice: {text}")
        Declared(seeds, **SEEDS).check("seeds", seeds)
        return seeds
    Declared(1, least=1, most=MOST_SEEDS).check("seeds", seeds[0])
    return list(range(1, seeds[0] + 1))
