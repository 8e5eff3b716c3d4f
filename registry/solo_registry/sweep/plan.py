"""Makes the runs of a space: the arguments of each trial, and the checks before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from omegaconf import DictConfig

from solo_registry.config.overrides import key_of, unique
from solo_registry.config.resolve import resolve
from solo_registry.data.from_images import Planned
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import HydraSession
from solo_registry.jobs.job import selecting
from solo_registry.runs.run_folder import RunFolder
from solo_registry.sweep.space import Point, SpaceConfig

State = Literal["finished", "pruned", "failed"]


@dataclass
class Trial:
    """One point of the space and its run.

    Attributes:
        number: number of the trial, from 1.
        point: its values by parameter.
        words: its arguments; `dyntemp pretrain OVERRIDES` makes its run.
        run: the run's folder.
        state: how it ended.
        value: the metric after the last epoch; None unless finished.
        images: number of held-out images that measured it.
        curve: the intermediate value by epochs done, up to the epoch that pruned it.
        problem: the reason why it failed.
        evaluation: the section of its config.
    """

    number: int
    point: dict[str, Any]
    words: list[str]
    run: RunFolder
    state: State = "failed"
    value: float | None = None
    images: int = 0
    curve: dict[int, float] = field(default_factory=dict)
    problem: str = ""
    evaluation: Any = None

    @property
    def label(self) -> str:
        """Return its point in one line."""
        return " ".join(f"{name}={value}" for name, value in self.point.items())


class Planner:
    """Makes the arguments of trials and of the final run.

    Args:
        name: name of the space.
        space: the space.
        overrides: the arguments that the user set for every run.
        hydra: composes configs.

    Raises:
        UserError: an argument sets a key that the sweep sets itself.
    """

    def __init__(
        self, name: str, space: SpaceConfig, overrides: Sequence[str], hydra: HydraSession
    ) -> None:
        self.name, self.space, self.overrides, self.hydra = name, space, list(overrides), hydra
        self._planned = Planned()
        own = {parameter.key: f"space '{name}' varies" for parameter in space.parameters.values()}
        own |= {key_of(override): f"space '{name}' sets" for override in space.words}
        own |= {"seed": "sweep.seed sets", "evaluation.enabled": "a sweep sets",
                "data.validation_fraction": "sweep.validation_fraction sets",
                "knn_eval.enabled": "sweep.intermediate sets"}  # fmt: skip
        for override in overrides:
            if key_of(override) in own:
                key = key_of(override)
                raise UserError(f"'{override}' cannot be set for all trials: {own[key]} {key}")

    def trial_overrides(self, point: Point) -> list[str]:
        """Return the arguments of a trial's run: held-out images, and only the selecting metric."""
        space = self.space
        online = ["knn_eval.enabled=true", "knn_eval.distance_func=cosine"]
        return unique(
            [
                *selecting(space.metric),
                "evaluation.pictures=false",
                *(online if self.prunes_by_knn else []),
                *self.final_overrides(point),
                f"data.validation_fraction={space.validation_fraction}",
                f"seed={space.seed}",
            ]
        )

    def final_overrides(self, point: Point) -> list[str]:
        """Return the arguments of a run on all of train with this point."""
        return unique([*self.overrides, *self.space.words, *self.space.words_of(point)])

    @property
    def prunes_by_knn(self) -> bool:
        """Whether trials need online kNN; without it, a trial's run equals a suite's tuning run."""
        return self.space.pruner.name != "none" and self.space.intermediate == "val_knn_acc1"

    def check(self) -> DictConfig:
        """Compose and check every corner; return one of the resolved configs.

        Raises:
            UserError: a corner does not make a valid config.
        """
        try:
            for corner in self.space.corners():
                cfg = resolve(self.hydra.compose(self.trial_overrides(corner)))
        except UserError as error:
            raise UserError(f"space '{self.name}' does not fit these arguments: {error}") from error
        return self._planned.completed(cfg)

    def trial(self, number: int, point: dict[str, Any]) -> tuple[Trial, DictConfig]:
        """Return a trial that has not run yet, and the composed config of its run."""
        overrides = self.trial_overrides(point)
        cfg = self.hydra.compose(overrides)
        resolved = self._planned.completed(resolve(cfg))
        folder = RunFolder.of(resolved)
        return Trial(number, point, overrides, folder, evaluation=resolved.evaluation), cfg
