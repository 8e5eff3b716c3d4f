"""The loggers of a run beside metrics.csv: TensorBoard and wandb."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from solo_registry.config.identity import config_hash
from solo_registry.errors import UserError
from solo_registry.runs.run_folder import RunFolder

WANDB_SECONDS = 15  # how long to wait for wandb's server


def build_logger(cfg: DictConfig, run: RunFolder) -> Logger | None:
    """Build the logger of `logger` or `wandb.enabled`; metrics.csv is written in any case.

    Raises:
        UserError: its package is not installed, or wandb has no account to log to.
    """
    name = "wandb" if cfg.wandb.enabled else cfg.logger
    if name == "csv":
        return None
    try:
        if name == "tensorboard":
            from lightning.pytorch.loggers import TensorBoardLogger

            return TensorBoardLogger(run.path, name="", version="tensorboard")
        from lightning.pytorch.loggers import WandbLogger

        if not cfg.wandb.offline:
            reach_wandb()
        logger = WandbLogger(
            name=f"{cfg.name}-{cfg.seed}",
            id=f"{config_hash(cfg)}-{cfg.seed}",  # a resumed run continues the same wandb run
            resume="allow",
            project=cfg.wandb.project,
            entity=cfg.wandb.entity,
            offline=cfg.wandb.offline,
            save_dir=run.path,
        )
        logger.log_hyperparams({"config": OmegaConf.to_container(cfg)})
        return logger
    except ImportError as error:
        raise UserError(
            f"logger={name} needs a package: pip install 'solo-dyntemp[{name}]' ({error})"
        ) from error
    except Exception as error:
        if not is_of_wandb(error):
            raise
        raise UserError(
            f"wandb cannot start a run: {' '.join(str(error).split())[:500]}. `wandb login` names "
            "the account; wandb.offline=true writes to the run's folder and needs none"
        ) from error


def log_result(logger: Logger, result: dict[str, Any], plots: Path) -> None:
    """Send the numbers and pictures of a run's evaluation to its logger.

    They are on disk already, so a logger that fails costs a warning and nothing else.

    Args:
        logger: TensorBoard's or wandb's.
        result: the content of result.json.
        plots: the folder of the pictures.
    """
    step = int(result["steps"])
    numbers = {
        f"evaluation/{row}/{key}": float(value)
        for row, values in result["results"].items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    try:
        logger.log_metrics(numbers, step)
        for picture in sorted(plots.glob("*.png")):
            if hasattr(logger, "log_image"):
                logger.log_image(f"evaluation/{picture.stem}", [str(picture)], step)
            else:
                pixels = np.asarray(Image.open(picture).convert("RGB"))
                tag = f"evaluation/{picture.stem}"
                board: Any = logger.experiment  # type: ignore[attr-defined]
                board.add_image(tag, pixels, step, dataformats="HWC")
        logger.finalize("success")
    except Exception as error:
        warnings.warn(f"the result is not in {type(logger).__name__}: {error}", stacklevel=2)


def reach_wandb() -> None:
    """Refuse to go on if wandb's server does not answer; wandb itself would retry for minutes.

    Raises:
        UserError: the server does not answer.
    """
    import wandb

    if os.environ.get("WANDB_MODE", "online") not in ("online", "shared"):
        return
    server = str(wandb.setup().settings.base_url)
    try:
        urlopen(server, timeout=WANDB_SECONDS).close()  # uses the environment's proxy
    except HTTPError:
        return  # the server answers; the status of the page does not matter
    except OSError as error:
        raise UserError(
            f"wandb: {server} does not answer ({error}). wandb.offline=true writes to the run's "
            "folder, and `wandb sync` sends it later"
        ) from error


def is_of_wandb(error: BaseException) -> bool:
    """Whether wandb itself raised `error`; does not import wandb."""
    here: TracebackType | None = error.__traceback__
    modules = [type(error).__module__]
    while here is not None:
        modules.append(here.tb_frame.f_globals.get("__name__", ""))
        here = here.tb_next
    return any(module.partition(".")[0] == "wandb" for module in modules)
