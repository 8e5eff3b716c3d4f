"""Optuna's part: it chooses the next point and decides whether a trial is pruned."""

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

FEWEST = 4  # with fewer finished trials, the importance of parameters is not computed


def new_study(space: SpaceConfig, name: str, epochs: int) -> optuna.Study:
    """Return a study in memory.

    With the same order of questions and the same reported values, the study always gives the same
    points: Optuna's sampler is seeded, and its pruners depend only on the reported values.

    Args:
        space: the space that is searched.
        name: name of the study; hyperband derives random numbers from it.
        epochs: number of epochs of a trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(  # the liar keeps trials apart that run at the same time
        seed=space.sampler_seed, n_startup_trials=space.random_trials, constant_liar=True
    )
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

    Optuna searches the unit cube, even if ranges depend on each other. Every point of the cube is a
    valid setting.
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
    """Sort the parameters by the share of the finished trials' variance that each explains.

    With one or two parameters, or few finished trials, they keep the order of the space.
    """
    names = list(space.parameters)
    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(names) < 3 or len(finished) < FEWEST:
        return names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study)
    return sorted(names, key=lambda name: -found.get(name, 0.0))
