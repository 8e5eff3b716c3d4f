"""One whole run, from a composed config to result.json: trained, then measured."""

from __future__ import annotations

from contextlib import ExitStack

from omegaconf import DictConfig
from rich.console import Console

from solo_registry.catalog.plugins import load_plugins
from solo_registry.console import quiet_libraries, terminal
from solo_registry.evaluation.run import evaluate_run
from solo_registry.runs.lifetime import leave_loky
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.loggers import log_result
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
    leave_loky()  # the loaders of a job of `--multirun`
    with ExitStack() as lock:  # one process trains and measures
        trained = train(given, console, lock)
        if trained.measures:
            settings = trained.cfg.evaluation
            result = evaluate_run(trained.run.path, settings, console, data=trained.data)
            if trained.logger and result:
                log_result(trained.logger, result, trained.run.plots)
    return trained.run
