"""The schema of a space: parameters with ranges or choices, and how trials are measured and pruned.

A space is a YAML file of the config group `space`, ours or a plugin's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from solo_registry.config.data_schema import SEEDS
from solo_registry.config.keys import key as declare
from solo_registry.config.resolve import read_section
from solo_registry.errors import UserError, nearest
from solo_registry.jobs.job import SELECTING

PRUNERS = ("median", "halving", "hyperband", "none")
INTERMEDIATE = ("val_knn_acc1", "val_acc1")
MOST_CORNERS = 1024  # largest number of corners that are checked before anything runs
Point = Mapping[str, Any]


@dataclass
class ParameterConfig:
    """A range or a list of choices.

    `low` or `high` may name an earlier parameter. The range then begins or ends at its value, so
    that no trial breaks an order such as tau_min <= tau_max.
    """

    key: str = declare("", "Key of the run's config; the parameter's own name if empty.")
    low: Any = declare(None, "A number, or an earlier parameter.")
    high: Any = declare(None, "A number, or an earlier parameter.")
    log: bool = declare(False, "Whether values are uniform on a logarithmic scale.")
    choices: list[Any] = declare(list, "Values in place of a range.")

    def ends(self, point: Point) -> tuple[float, float]:
        """Return the range's ends, given the values of earlier parameters."""
        low, high = (point[end] if isinstance(end, str) else end for end in (self.low, self.high))
        return float(low), float(high)

    def at(self, share: float, point: Point) -> Any:
        """Return the value at a share of the way from the low end to the high one.

        With choices, `share` is the place in their list. Numbers are rounded to four digits, which
        keeps their order.

        >>> ParameterConfig(low="a", high=1.0, log=True).at(0.5, {"a": 0.01})
        0.1
        >>> ParameterConfig(choices=["sgd", "lars"]).at(1, {})
        'lars'
        """
        if self.choices:
            return self.choices[int(share)]
        low, high = self.ends(point)
        if share in (0, 1):
            return high if share else low
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        return min(max(float(f"{value:.4g}"), low), high)


@dataclass
class PrunerConfig:
    """The rule that ends a trial before its last epoch."""

    name: str = declare("median", "The rule.", choices=PRUNERS)
    startup_trials: int = declare(5, "Trials that finish before median ends one.", least=0)
    warmup: float = declare(0.5, "Share of the epochs that every trial may run.", above=0, below=1)


@dataclass
class RayConfig:
    """The Ray cluster that runs the trials."""

    address: str = declare("", "auto, local or HOST:PORT; empty runs trials here, without Ray.")
    num_cpus: float = declare(1.0, "CPUs, and so threads, of a trial.", above=0)
    num_gpus: float = declare(0.0, "GPUs of a trial; 0.5 puts two trials on one.", least=0)


@dataclass
class SpaceConfig:
    """A search."""

    about: str = declare("", "What it searches.")
    words: list[str] = declare(list, "Arguments of every trial.")
    parameters: dict[str, ParameterConfig] = field(default_factory=dict)
    metric: str = declare("knn_acc1", "Selects the winner, after the last epoch.",
                          choices=SELECTING)  # fmt: skip
    intermediate: str = declare("val_knn_acc1", "The pruner sees it, after each epoch.",
                                choices=INTERMEDIATE)  # fmt: skip
    trials: int = declare(30, "Number of trials.", least=1)
    parallel: int = declare(1, "Number of trials that run at the same time.", least=1)
    random_trials: int = declare(10, "Trials drawn uniformly before the sampler learns.", least=1)
    seed: int = declare(1001, "Seed of every trial's run; not a final run's.", **SEEDS)
    sampler_seed: int = declare(0, "Seed of the sampler.", **SEEDS)
    validation_fraction: float = declare(0.2, "Share of train held out.", above=0, below=1)
    pruner: PrunerConfig = field(default_factory=PrunerConfig)
    ray: RayConfig = field(default_factory=RayConfig)

    def point(self, shares: Mapping[str, float]) -> dict[str, Any]:
        """Return the values that lie at `shares` of each parameter's range."""
        point: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            point[name] = parameter.at(shares[name], point)
        return point

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of ends and choices."""
        ends = [range(len(p.choices) or 2) for p in self.parameters.values()]
        for shares in itertools.product(*ends):
            yield self.point(dict(zip(self.parameters, shares, strict=True)))

    def words_of(self, point: Point) -> list[str]:
        """Write a point as arguments of `dyntemp pretrain`."""
        return [f"{self.parameters[name].key}={value}" for name, value in point.items()]


def read_space(name: str, node: Any, changes: Sequence[str]) -> SpaceConfig:
    """Check a space.

    Args:
        name: its name, for error texts.
        node: its YAML.
        changes: arguments such as `pruner.name=none`.

    Raises:
        UserError: an unknown key, name or value; the message names the nearest right one.
    """
    space = read_section("sweep", SpaceConfig, node, changes)
    if not space.parameters:
        raise UserError(f"space '{name}' has no parameters")
    if space.parallel > 1 and space.pruner.name in ("halving", "hyperband"):
        raise UserError(
            f"sweep.pruner.name={space.pruner.name} compares trials that are still running, so "
            f"sweep.parallel={space.parallel} would depend on which is faster: take median or none"
        )
    _check_parameters(name, space)
    return space


def _check_parameters(name: str, space: SpaceConfig) -> None:
    before: list[str] = []
    for parameter, config in space.parameters.items():
        whole = config.choices or None not in (config.low, config.high)
        if not config.key and not whole:  # it changes a parameter that the YAML does not have
            known = nearest(parameter, [other for other in space.parameters if other != parameter])
            raise UserError(f"space '{name}' has no parameter '{parameter}'.{known}")
        config.key = config.key or parameter
        _check_ends(f"sweep.parameters.{parameter}", config, space, before)
        before.append(parameter)
    count = math.prod(len(p.choices) or 2 for p in space.parameters.values())
    if count > MOST_CORNERS:
        raise UserError(
            f"space '{name}' has {count} corners to check, at most {MOST_CORNERS} are allowed: "
            "search fewer parameters at once"
        )
    for corner in space.corners():
        for parameter, config in space.parameters.items():
            low, high = (0.0, 1.0) if config.choices else config.ends(corner)
            if low > high or (config.log and low <= 0):
                reason = "above high" if low > high else "not positive, but log is true"
                raise UserError(
                    f"sweep.parameters.{parameter}: low reaches {low:g}, {reason} ({high:g})"
                )


def _check_ends(key: str, config: ParameterConfig, space: SpaceConfig, before: list[str]) -> None:
    """Refuse ends that are neither numbers nor earlier parameters with a range."""
    if config.choices:
        if (config.low, config.high) != (None, None):
            raise UserError(f"{key} has choices and a range: give one of them")
        return
    ranges = [other for other in before if not space.parameters[other].choices]
    for end in ("low", "high"):
        value = getattr(config, end)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (value in ranges if isinstance(value, str) else number):
            hint = nearest(value, ranges) if isinstance(value, str) else ""
            raise UserError(
                f"{key}.{end} must be a number or an earlier parameter with a range, got "
                f"{value!r}.{hint}"
            )
