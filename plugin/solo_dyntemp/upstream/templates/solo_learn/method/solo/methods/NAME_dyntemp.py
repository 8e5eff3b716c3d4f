import logging
from functools import partial

import omegaconf
from solo.losses.temperature import dynamic_temperature
from solo.methods.NAME import CLASS
from solo.utils.misc import omegaconf_select


class CLASSDynTemp(CLASS):
    def __init__(self, cfg: omegaconf.DictConfig):
        """Implements TITLE with a temperature that is a function of each pair's similarity
        (DySTreSS, PAPER).

        Extra cfg settings:
            method_kwargs: those of CLASS without temperature, and
                tau_min (float): temperature of pairs with similarity 0. Defaults to TAU_MIN.
                tau_max (float): temperature of pairs with similarity -1 and 1. Defaults to TAU_MAX.
        """

        super().__init__(cfg)

        self.temperature = partial(
            dynamic_temperature,
            tau_min=cfg.method_kwargs.tau_min,
            tau_max=cfg.method_kwargs.tau_max,
        )

    @staticmethod
    def add_and_assert_specific_cfg(cfg: omegaconf.DictConfig) -> omegaconf.DictConfig:
        """Adds method specific default values/checks for config.

        Args:
            cfg (omegaconf.DictConfig): DictConfig object.

        Returns:
            omegaconf.DictConfig: same as the argument, used to avoid errors.
        """

        cfg = super(CLASSDynTemp, CLASSDynTemp).add_and_assert_specific_cfg(cfg)

        if omegaconf_select(cfg, "method_kwargs.temperature") is not None:
            logging.warning("method_kwargs.temperature is not used, tau_min and tau_max are.")
        cfg.method_kwargs.temperature = None  # CLASS reads it

        tau_min = omegaconf_select(cfg, "method_kwargs.tau_min", TAU_MIN)
        tau_max = omegaconf_select(cfg, "method_kwargs.tau_max", TAU_MAX)
        assert 0 < tau_min <= tau_max, f"0 < tau_min <= tau_max, got {tau_min} and {tau_max}."
        cfg.method_kwargs.tau_min, cfg.method_kwargs.tau_max = tau_min, tau_max

        return cfg
