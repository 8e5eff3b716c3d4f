"""The state of a sweep: its trials so far, ranked."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from solo_registry.sweep.plan import Planner, Trial


@dataclass
class Sweep:
    """A search and its trials so far.

    Attributes:
        planner: makes arguments from points.
        path: the folder of the results.
        cfg: the resolved config of a corner of the space.
        trials: the trials, in the order in which Optuna gave them.
        order: the parameters, the most important first.
    """

    planner: Planner
    path: Path
    cfg: DictConfig
    trials: list[Trial] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def of_state(self, state: str) -> list[Trial]:
        """Return the trials in this state."""
        return [trial for trial in self.trials if trial.state == state]

    @property
    def ranked(self) -> list[Trial]:
        """Return the finished trials, best first; of equal trials the earlier one is first."""
        return sorted(self.of_state("finished"), key=lambda trial: -(trial.value or 0.0))

    @property
    def command(self) -> str:
        """Return the command that runs the winner; Hydra needs an absolute path."""
        folder = shlex.quote(self.path.as_posix())
        place = folder if self.path.is_absolute() else f'"$PWD"/{folder}'
        return f"dyntemp pretrain --config-path {place} --config-name best"

    @property
    def margin(self) -> float:
        """Return one standard error of the winner's accuracy, by the number of held-out images."""
        best = self.ranked[0]
        share = (best.value or 0.0) / 100
        return 100 * math.sqrt(share * (1 - share) / best.images)
