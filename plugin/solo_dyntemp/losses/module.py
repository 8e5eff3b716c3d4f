"""The settings that all loss modules have."""

from __future__ import annotations

from typing import Any

from torch import nn

from solo_dyntemp.losses.checks import check_choice
from solo_dyntemp.losses.contrast import IMPLEMENTATIONS
from solo_dyntemp.temperature import TemperatureLike, as_temperature


class LossModule(nn.Module):
    """Base of the loss modules; a temperature with state is saved and moved with the module.

    Args:
        temperature: τ: a temperature, its name, a number or an elementwise function.
        detach_temperature: stop the gradient through τ.
        implementation: "auto", "dense", "tiled" or "triton".

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self,
        temperature: TemperatureLike = "cosine",
        detach_temperature: bool = True,
        implementation: str = "auto",
    ) -> None:
        super().__init__()
        check_choice("implementation", implementation, IMPLEMENTATIONS)
        self.temperature = as_temperature(temperature, kept=True)
        self.detach_temperature = detach_temperature
        self.implementation = implementation

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of the loss function."""
        return {
            "temperature": self.temperature,
            "detach_temperature": self.detach_temperature,
            "implementation": self.implementation,
        }

    def extra_repr(self) -> str:
        """Return the settings of the loss for `repr`."""
        return ", ".join(f"{name}={value}" for name, value in self.settings().items())
