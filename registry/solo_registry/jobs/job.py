"""One run among many: its arguments and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from solo_registry.config.overrides import short

Phase = Literal["tuning", "final"]
# the metrics that can select settings; the balanced ones suit classes of unequal size
SELECTING = ("knn_acc1", "linear_acc1", "knn_balanced_acc1", "linear_balanced_acc1")


@dataclass(frozen=True)
class Job:
    """One run of a board.

    Attributes:
        strategy: the strategy (a row of the table) that the run belongs to.
        phase: "tuning" is measured on the validation split, "final" on the test split.
        point: the arguments of its grid point.
        seed: its seed.
        words: all its arguments; `dyntemp pretrain OVERRIDES` makes this run.
        path: its folder, below `runs_dir`.
    """

    strategy: str
    phase: Phase
    point: tuple[str, ...]
    seed: int
    words: tuple[str, ...]
    path: str

    @property
    def label(self) -> str:
        """Return one line for the progress display: strategy, point and seed."""
        point = " ".join(short(override) for override in self.point)
        return " ".join(part for part in (self.strategy, point, f"seed {self.seed}") if part)


def selecting(metric: str) -> list[str]:
    """Return the arguments that switch off all measures that a selection by `metric` does not need.

    >>> selecting("linear_acc1")
    ['evaluation.baselines=false', 'telemetry.every_n_epochs=0']
    """
    overrides = ["evaluation.baselines=false", "telemetry.every_n_epochs=0"]
    return overrides if metric.startswith("linear") else [*overrides, "evaluation.linear=false"]
