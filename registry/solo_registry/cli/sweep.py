"""`dyntemp sweep`."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import typer

from solo_registry.errors import UserError

OLDEST = 5  # major version of Optuna
PIP = "pip install 'solo-dyntemp[sweep]'"


def sweep(ctx: typer.Context) -> None:
    """Search settings: dyntemp sweep method=simclr_dyntemp data=digits space=cosine trials=30.

    Optuna chooses each trial by those before, and ends trials early that fall behind.
    Trials are measured on images held out of train, never on test images.
    The results are a list of trials, a heat map, a report and best.yaml for pretrain.
    If the command was killed or stopped, type it again to resume; a higher trials=N adds trials.

    Arguments of its own:
      space=NAME         what is searched: temperature, cosine, ...
      trials=N           how many, 30 if not given
      out=DIR            sweeps/<method>-<space>-<data> if not given
      runs_dir=DIR       where runs go, runs if not given
      retry=true         runs failed trials again
      sweep.KEY=VALUE    changes the space:
        sweep.parameters.tau_min.high=0.3
        sweep.pruner.name=median|halving|hyperband|none
        sweep.parallel=4             runs four trials at a time
        sweep.ray.address=auto       runs them on a Ray cluster; sweep.ray.num_gpus=1 for each
        sweep.pruner.warmup=0.25  sweep.metric=linear_acc1
        sweep.seed=1002  sweep.sampler_seed=1  sweep.validation_fraction=0.1
    All others are those of pretrain and hold for every trial.
    """
    need_optuna()
    from solo_registry.console import terminal
    from solo_registry.sweep.run import run_sweep

    run_sweep(ctx.args, terminal())


def need_optuna() -> None:
    """Raise UserError unless Optuna is installed, in a version that we know."""
    try:
        found = version("optuna")
    except PackageNotFoundError:
        raise UserError(f"dyntemp sweep needs Optuna: {PIP}") from None
    if int(found.partition(".")[0]) < OLDEST:
        raise UserError(f"dyntemp sweep needs Optuna {OLDEST} or newer, found {found}: {PIP}")
