"""SimCLR with the temperatures that others proposed, each under its own name and defaults."""

from __future__ import annotations

from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf

from solo_dyntemp.methods.simclr_dyntemp import SimCLRDynTempMixin
from solo_registry.catalog.kwargs import default_kwargs
from solo_registry.errors import UserError


def kwargs_of(temperature: str, **temperature_kwargs: float) -> dict[str, Any]:
    """Return the `method_kwargs` of SimCLR's dynamic form with another temperature."""
    own = {"temperature": temperature, "temperature_kwargs": temperature_kwargs}
    return {**SimCLRDynTempMixin.KWARGS, **own}


class NamedTemperatureMixin(SimCLRDynTempMixin):
    """`simclr_dyntemp` whose temperature is the one that the method is named after."""

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Refuse another temperature: the run would bear a wrong name."""
        own: str = default_kwargs(cls)["temperature"]
        given = OmegaConf.select(cfg, "method_kwargs.temperature", default=own)
        if isinstance(given, str) and given != own:
            raise UserError(
                f"method '{cfg.method}' is SimCLR with temperature '{own}', got '{given}'; for "
                "another one take method=simclr_dyntemp"
            )
        return super().add_and_assert_specific_cfg(cfg)


class MACLMixin(NamedTemperatureMixin):
    """MACL (Huang et al. 2022, arXiv 2207.07874): tau follows the positives' similarity."""

    KWARGS: ClassVar[dict[str, Any]] = kwargs_of("macl", tau=0.1, alpha=0.5, a0=0.0)


class TemperatureScheduleMixin(NamedTemperatureMixin):
    """Temperature schedules (Kukleva et al. 2023, arXiv 2303.13664): tau swings between bounds."""

    KWARGS: ClassVar[dict[str, Any]] = kwargs_of("cosine_schedule", cycles=5.0)


class ISogCLRMixin(NamedTemperatureMixin):
    """iSogCLR (Qiu et al. 2023, arXiv 2305.11965): every image learns its own tau."""

    KWARGS: ClassVar[dict[str, Any]] = kwargs_of(
        "isogclr", tau=0.1, rho=0.3, gamma=0.9, eta=0.01, beta=0.9
    )


class DualTemperatureMixin(NamedTemperatureMixin):
    """Dual temperature (Zhang et al. 2022, arXiv 2203.17248): a second tau weighs the anchors."""

    KWARGS: ClassVar[dict[str, Any]] = kwargs_of("dual_temperature", tau=0.1, ratio=10.0)


class SimCLRLearnableMixin(NamedTemperatureMixin):
    """SimCLR with CLIP's trained temperature (Radford et al. 2021, arXiv 2103.00020)."""

    KWARGS: ClassVar[dict[str, Any]] = kwargs_of("learnable", tau=0.07)
