"""What every method with a dynamic temperature shares: its `method_kwargs` and its tau(s)."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from solo_dyntemp.temperature import build_temperature
from solo_registry.contract import Host
from solo_registry.errors import UserError

logger = logging.getLogger(__name__)


class DynTempMixin(Host):
    """Put before a method's mixin; reads `temperature`, `tau_min`, `tau_max` and so on.

    `method_kwargs`: `temperature` (a name of `dyntemp temperatures`), `tau_min`, `tau_max`,
    `temperature_kwargs` (what that temperature takes beyond them), `detach_temperature` (True: no
    gradient through tau, as in the authors' code; False: as in the paper's derivation).
    """

    DYNTEMP_KWARGS: ClassVar[dict[str, Any]] = {
        "temperature": "cosine",
        "tau_min": 0.1,
        "tau_max": 0.2,
        "temperature_kwargs": {},
        "detach_temperature": True,
    }

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.temperature = temperature_of(cfg)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check `method_kwargs`, the temperature's range included."""
        fixed = OmegaConf.select(cfg, "method_kwargs.temperature")
        if isinstance(fixed, int | float):
            logger.warning(
                "method_kwargs.temperature=%s is not used: method=%s takes tau_min and tau_max",
                fixed,
                cfg.method,
            )
            with open_dict(cfg):
                del cfg.method_kwargs.temperature
        cfg = super().add_and_assert_specific_cfg(cfg)
        temperature_of(cfg)
        return cfg

    def temperature_curve(self, s: Tensor) -> Tensor | None:
        """tau(s) at each cosine similarity in `s`."""
        tau: Tensor = self.temperature(s)
        return tau


def temperature_of(cfg: DictConfig) -> Any:
    """Build the temperature that `cfg.method_kwargs` describes.

    Raises:
        UserError: an unknown name, or values out of range.
    """
    kwargs = cfg.method_kwargs
    try:
        return build_temperature(
            kwargs.temperature,
            **{"tau_min": kwargs.tau_min, "tau_max": kwargs.tau_max, **kwargs.temperature_kwargs},
        )
    except ValueError as error:
        raise UserError(f"method_kwargs of {cfg.method}: {error}") from error
