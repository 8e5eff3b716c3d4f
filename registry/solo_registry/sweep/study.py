"""Optuna's part: which point comes next, and whether a trial is worth going on with."""

from __future__ import annotations

import math
import warnings

import optuna
from optuna.importance import get_param_importances
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import TPESampler

from solo_registry.sweep.space import PrunerConfig, SpaceConfig

FEWEST = 4  # finished trials, below which nothing is said about importance


def new_study(space: SpaceConfig, name: str, epochs: int) -> optuna.Study:
    """Return a study in memory.

    Asked in the same order and told the same values, it always gives the same points: Optuna's
    sampler is seeded, and its pruners depend on what was reported alone.

    Args:
        space: what is searched.
        name: the study's; hyperband draws by it.
        epochs: of a trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(seed=space.sampler_seed, n_startup_trials=space.random_trials)
    return optuna.create_study(
        study_name=name,
        direction="maximize",
        sampler=sampler,
        pruner=new_pruner(space.pruner, epochs),
    )


def new_pruner(config: PrunerConfig, epochs: int) -> BasePruner:
    """Return the pruner; its steps are epochs done.

    >>> type(new_pruner(PrunerConfig("none"), 10)).__name__
    'NopPruner'
    """
    first = max(1, math.ceil(config.warmup * epochs))
    if config.name == "median":
        return MedianPruner(config.startup_trials, n_warmup_steps=first)
    if config.name == "halving":
        return SuccessiveHalvingPruner(min_resource=first)
    if config.name == "hyperband":
        return HyperbandPruner(min_resource=first, max_resource=epochs)
    return NopPruner()


def ask(study: optuna.Study, space: SpaceConfig) -> tuple[optuna.Trial, dict[str, float]]:
    """Return the next trial and its shares.

    Optuna sees the unit cube, whatever depends on what: every point of it is a valid setting.
    """
    trial = study.ask()
    shares = {
        name: float(
            trial.suggest_categorical(name, list(range(len(parameter.choices))))
            if parameter.choices
            else trial.suggest_float(name, 0.0, 1.0)
        )
        for name, parameter in space.parameters.items()
    }
    return trial, shares


def by_importance(study: optuna.Study, space: SpaceConfig) -> list[str]:
    """Sort the parameters by how much of the finished trials' variance each explains.

    With one or two parameters, or few finished trials, they stay in the order of the space.
    """
    names = list(space.parameters)
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(names) < 3 or len(finished) < FEWEST:
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study)
    return sorted(names, key=lambda name: -found.get(name, 0.0))
