"""One whole run, from a composed config to result.json: trained, then measured."""

from __future__ import annotations

import warnings
from contextlib import ExitStack

from omegaconf import DictConfig
from rich.console import Console

from solo_registry.catalog.plugins import load_plugins
from solo_registry.console import quiet_libraries, terminal
from solo_registry.evaluation.run import evaluate_run
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.pretrain import train


def pretrain(given: DictConfig, console: Console | None = None) -> RunFolder:
    """Train, resume training, or do nothing if the run is finished; then evaluate.

    Args:
        given: the composed config.
        console: where progress is printed.

    Returns:
        The run's folder, with result.json unless `evaluation.enabled` is false.

    Raises:
        UserError: anything in config, data or checkpoint that cannot work, before training starts.
    """
    console = console or terminal()
    quiet_libraries()
    load_plugins()
    if given.get("debug_augmentations"):
        warnings.warn(
            "debug_augmentations=true draws nothing: `dyntemp views` with the same overrides draws "
            "the views",
            stacklevel=2,
        )
    with ExitStack() as lock:  # one process trains and measures
        trained = train(given, console, lock)
        if trained.measures:
            evaluate_run(trained.run.path, trained.cfg.evaluation, console, data=trained.data)
    return trained.run
