"""Makes the jobs of a suite: the run and folder of each strategy, point and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_registry.catalog.registry import METHODS
from solo_registry.config.overrides import key_of, unique
from solo_registry.config.resolve import resolve
from solo_registry.data.from_images import Planned
from solo_registry.errors import UserError
from solo_registry.jobs.job import Job, Phase, selecting
from solo_registry.leaderboard.knobs import Point, Setting, key_of_knob, spelled
from solo_registry.leaderboard.suite import SuiteConfig
from solo_registry.runs.records import Record
from solo_registry.runs.run_folder import RunFolder


class Planner:
    """Makes jobs; composes and checks every combination of arguments before anything runs.

    Args:
        suite: the suite.
        overrides: the arguments that the user set for every run.
        runs_dir: the folder of all runs.
        compose: composes a config from arguments.

    Raises:
        UserError: an argument sets a key that the suite compares or that the tuning sets itself.
    """

    def __init__(
        self,
        suite: SuiteConfig,
        overrides: Sequence[str],
        runs_dir: str,
        compose: Callable[[Sequence[str]], DictConfig],
    ) -> None:
        self.suite, self.overrides, self.compose = suite, list(overrides), compose
        self.runs_dir = runs_dir
        self._planned = Planned()
        self._folders: dict[tuple[str, ...], tuple[Path, str]] = {}
        self._evaluation: dict[tuple[str, ...], DictConfig] = {}
        self._temperatures: dict[tuple[str, ...], tuple[float, float] | None] = {}
        for name, strategy in suite.strategies.items():
            own = {key_of(override) for override in strategy.words}
            own |= set(map(key_of_knob, strategy.grid))
            own |= {"seed", "data.validation_fraction", "evaluation.enabled"}
            for override in overrides:
                if key_of(override) in own:
                    raise UserError(
                        f"'{override}' cannot be set for all runs: the suite itself sets "
                        f"{key_of(override)} (strategy '{name}')"
                    )

    def tuning(self) -> list[Job]:
        """Return a job for every strategy, point and tuning seed; none if there is only one point.

        These runs measure only what the selection needs.
        """
        if self.suite.tuning.points == 1:
            return []
        points = {name: entry.points() for name, entry in self.suite.strategies.items()}
        return self._tuning(points)

    def extended(self, added: Mapping[str, Sequence[Setting]]) -> list[Job]:
        """Return a job for every setting that extends a strategy's grid, and tuning seed."""
        return self._tuning({name: list(map(spelled, found)) for name, found in added.items()})

    def _tuning(self, points: Mapping[str, Iterable[Point]]) -> list[Job]:
        return [
            job
            for name, own in points.items()
            for point in own
            for job in self._jobs(name, "tuning", point, self.suite.tuning.seeds)
        ]

    def final(self, selected: Iterable[tuple[str, Point]], seeds: list[int]) -> list[Job]:
        """Return a job for every strategy at its selected point, for each final seed."""
        return [job for name, point in selected for job in self._jobs(name, "final", point, seeds)]

    def _left_out(self, name: str, phase: Phase) -> list[str]:
        """Return arguments that switch off needless measures; the user's arguments win."""
        if phase == "tuning":
            return selecting(self.suite.metric)
        # raw pixels and the untrained backbone are the same for all strategies
        return [] if name == self.suite.reference else ["evaluation.baselines=false"]

    def temperatures(self, name: str, point: Point) -> tuple[float, float] | None:
        """Return the lowest and the highest temperature of a strategy's point; None without any."""
        words = tuple(self._words(name, "tuning", point))
        self._folder(words)
        return self._temperatures[words]

    def _words(self, name: str, phase: Phase, point: Point) -> list[str]:
        """Return the arguments of a point's runs, without those that a job adds."""
        split = f"data.validation_fraction={self.suite.tuning.validation_fraction}"
        return unique(
            [
                *self.suite.words,
                *self._left_out(name, phase),
                *self.overrides,
                *self.suite.strategies[name].words,
                *point,
                *([split] if phase == "tuning" else []),
            ]
        )

    def _jobs(self, name: str, phase: Phase, point: Point, seeds: list[int]) -> Iterator[Job]:
        overrides = self._words(name, phase, point)
        folder, digest = self._folder(tuple(overrides))
        for seed in seeds:
            path = (folder / str(seed)).as_posix()
            every = (*overrides, f"data.digest={digest}", f"seed={seed}")
            yield Job(name, phase, point, seed, every, path)

    def _folder(self, overrides: tuple[str, ...]) -> tuple[Path, str]:
        """Return the folder of these arguments' seeds, below `runs_dir`, and the data's digest.

        The digest is one of a job's arguments, so that its run refuses images that have changed.
        """
        if overrides not in self._folders:
            cfg = self._planned.completed(resolve(self.compose(overrides)))
            folder = RunFolder.of(cfg).path.parent.relative_to(Path(cfg.runs_dir))
            self._folders[overrides] = folder, cfg.data.digest
            self._evaluation[overrides] = cfg.evaluation
            method: Any = METHODS.get(cfg.method)  # solo-learn's own have no such function
            temperatures = getattr(method, "temperature_range", lambda cfg: None)
            self._temperatures[overrides] = temperatures(cfg)
        return self._folders[overrides]

    def lacks(self, job: Job, record: Record) -> bool:
        """Whether a job's run was measured with less than the job asks for, or in another way."""
        *overrides, _digest, _seed = job.words
        trained = record.result.get("results", {}).get("trained", {})
        older = bool(trained) and self.suite.metric not in trained
        return older or record.lacks(self._evaluation[tuple(overrides)])
