"""`dyntemp sweep`: rounds of one or several trials, each chosen by the rounds before."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.trial import TrialState
from rich.console import Console
from rich.progress import Progress, TaskID

from solo_registry.catalog.plugins import load_plugins
from solo_registry.config.overrides import pair
from solo_registry.config.resolve import expanded
from solo_registry.errors import UserError
from solo_registry.jobs.hydra_launcher import HydraSession, hydra_session, short_name
from solo_registry.jobs.progress import notes, progress_bar
from solo_registry.plots.names import number
from solo_registry.runs.lock import held
from solo_registry.sweep.follow import follow
from solo_registry.sweep.on_ray import Starter, starting
from solo_registry.sweep.plan import Planner, Trial
from solo_registry.sweep.report import write_report, write_trials
from solo_registry.sweep.space import read_space
from solo_registry.sweep.state import Sweep
from solo_registry.sweep.study import ask, by_importance, new_study

STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

# the command's own keys, and the key of a run that one of them stands in place of
OWN = {
    "space": "", "trials": "", "out": "", "runs_dir": "", "retry": "", "sweep.seed": "seed",
    "sweep.validation_fraction": "data.validation_fraction",
}  # fmt: skip


@dataclass
class Request:
    """The arguments of the command, sorted by their purpose."""

    space: str = ""
    out: str = ""
    runs_dir: str = "runs"
    retry: bool = False
    changes: list[str] = field(default_factory=list)  # changes of the space
    run: list[str] = field(default_factory=list)  # arguments of every run


def sort_overrides(overrides: Sequence[str]) -> Request:
    """Sort the arguments of the command line by their purpose.

    Raises:
        UserError: an argument is not KEY=VALUE, or selects one of Hydra's launchers.

    >>> request = sort_overrides(["space=cosine", "trials=9", "sweep.seed=7", "max_epochs=3"])
    >>> request.space, request.changes, request.run
    ('cosine', ['trials=9', 'seed=7'], ['max_epochs=3'])
    """
    request = Request()
    for override in overrides:
        key, value = pair(override, "trials=30", OWN)
        if key in ("out", "runs_dir"):
            setattr(request, key, expanded(key, value))
        elif key == "space":
            request.space = value
        elif key == "retry":
            if value not in ("true", "false"):
                raise UserError(f"retry must be true or false, got '{value}'")
            request.retry = value == "true"
        elif key == "trials":
            request.changes.append(override)
        elif key.startswith("sweep."):
            request.changes.append(override.removeprefix("sweep."))
        elif key.lstrip("+").startswith("hydra"):
            raise UserError(
                f"'{override}' cannot be set: a sweep starts its trials itself; sweep.parallel=2 "
                "runs two at a time, sweep.ray.address=auto runs them on a Ray cluster; devices=4 "
                "strategy=ddp spreads one over GPUs"
            )
        else:
            request.run.append(override)
    if not request.space:
        raise UserError("name a space: dyntemp sweep method=simclr space=temperature")
    return request


def run_sweep(overrides: Sequence[str], console: Console) -> Sweep:
    """Search a space, or the part of the search that is not finished yet.

    Only the runs are stored. A command that is started again asks the same seeded sampler for the
    earlier trials, and reports to it what their folders hold. If another process runs the same
    sweep, this one waits for it.

    Args:
        overrides: the arguments of the command line.
        console: where progress is printed.

    Raises:
        UserError: arguments that cannot work, raised before anything runs; or no trial finished.
    """
    load_plugins()
    request = sort_overrides(overrides)
    with hydra_session([], request.runs_dir) as hydra:
        name = short_name(request.space)
        space = read_space(name, hydra.option("space", request.space), request.changes)
        planner = Planner(name, space, request.run, hydra)
        with console.status("checking every corner of the space"), notes(console):
            cfg = planner.check()
        sweep = Sweep(planner, Path(request.out or f"sweeps/{_name(request, cfg)}"), cfg)
        study = new_study(space, sweep.path.name, cfg.max_epochs)
        console.print(
            f"space {name}: {', '.join(space.parameters)}; {space.trials} trials of "
            f"{cfg.max_epochs} epochs; results in {sweep.path}",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        with held(sweep.path, console), starting(space.ray, console) as start:
            with progress_bar(console) as bar:
                task = bar.add_task("trials", total=space.trials)
                while left := space.trials - len(sweep.trials):
                    count = min(left, space.parallel)
                    _round(sweep, study, hydra, start, request.retry, count, bar, task)
                    bar.update(task, completed=len(sweep.trials))
            sweep.order = by_importance(study, space)
            write_report(sweep, console)
    return sweep


def _name(request: Request, cfg: DictConfig) -> str:
    chosen = [
        override.partition("=")[2] for override in request.run if override.startswith("data=")
    ]
    data = chosen[-1] if chosen else cfg.data.dataset  # the option's name can say more: cifar10_lt
    return f"{cfg.method}-{short_name(request.space)}-{data}".replace("/", "-")


def _round(
    sweep: Sweep, study: optuna.Study, hydra: HydraSession, start: Starter, retry: bool, count: int,
    bar: Progress, task: TaskID,
) -> None:  # fmt: skip
    """Ask Optuna for trials, finish them, and report their results to Optuna.

    Optuna learns the results when all are there, in the order of the trials. The median pruner
    compares with finished trials alone. So it does not matter which trial of a round ends first.
    """
    planner, epochs = sweep.planner, sweep.cfg.max_epochs

    def tell(trial: Trial) -> None:
        bar.update(task, description=f"{trial.label}, epoch {max(trial.curve, default=0)}/{epochs}")

    asked = [ask(study, planner.space) for _ in range(count)]
    trials: list[Trial] = []
    running: dict[int, Generator[None, None, bool]] = {}
    for place, (question, shares) in enumerate(asked):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the check of the corners has printed them
            trial, cfg = planner.trial(question.number + 1, planner.space.point(shares))
        if retry:
            trial.run.error.unlink(missing_ok=True)
        trials.append(trial)
        begin = functools.partial(start, cfg, hydra.spell(trial.words), trial.run)
        running[place] = follow(trial, question, planner.space, epochs, begin, tell)
    ran: dict[int, bool] = {}
    try:
        while running:
            for place, followed in list(running.items()):
                try:
                    next(followed)
                except StopIteration as ended:
                    ran[place] = ended.value
                    del running[place]
    finally:
        for followed in running.values():
            followed.close()  # ends the run
    for place, ((question, _), trial) in enumerate(zip(asked, trials, strict=True)):
        study.tell(question, trial.value, state=STATES[trial.state])
        sweep.trials.append(trial)
        line = f"[{trial.number}/{planner.space.trials}] {trial.label}: {outcome(sweep, trial)}"
        kept = "" if ran[place] else "  (from its folder)"
        bar.console.print(line + kept, soft_wrap=True, highlight=False, markup=False)
    if any(ran.values()):
        write_trials(sweep)


def outcome(sweep: Sweep, trial: Trial) -> str:
    """Return the outcome of a trial in short."""
    space = sweep.planner.space
    if trial.state == "finished":
        return f"{space.metric} {number(trial.value, space.metric)}"
    if trial.state == "failed":
        return f"failed: {trial.problem}"
    best = f"best {space.intermediate} {max(trial.curve.values()):.2f}"
    return f"pruned after epoch {max(trial.curve)} of {sweep.cfg.max_epochs}, {best}"
