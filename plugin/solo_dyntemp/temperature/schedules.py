"""Temperatures that change over training; the training loop calls `set_progress`."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from solo_dyntemp.temperature.base import (
    BatchContext,
    Temperature,
    check_finite,
    check_positive,
    check_range,
)
from solo_dyntemp.temperature.pairwise import ConstantTemperature, CosineTemperature


class ScheduledTemperature(nn.Module, Temperature):
    """Base of schedules: keeps the progress of training and saves it in the state dict.

    Args:
        tau_min: lowest temperature.
        tau_max: highest temperature.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.
    """

    def __init__(self, tau_min: float, tau_max: float) -> None:
        super().__init__()
        check_range(tau_min, tau_max)
        self.tau_min, self.tau_max = tau_min, tau_max
        self.progress = 0.0

    def set_progress(self, progress: float) -> None:
        """Receive the fraction of the training that is done.

        Raises:
            ValueError: `progress` is outside [0, 1].
        """
        check_finite(progress=progress)
        if not 0 <= progress <= 1:
            raise ValueError(f"progress must be in [0, 1], got {progress}")
        self.progress = float(progress)

    def current(self) -> Temperature:
        """Return the temperature at the present progress."""
        raise NotImplementedError

    def for_batch(self, batch: BatchContext) -> Temperature:
        """Return the temperature at the present progress."""
        return self.current()

    def forward(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return τ(s) at the present progress."""
        tau: Tensor = self.current()(s, out)
        return tau

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        """Return dτ/ds at the present progress."""
        return self.current().derivative(s, out)

    def get_extra_state(self) -> dict[str, float]:
        """Return the progress for the state dict; no tensor, so that nothing waits for the GPU."""
        return {"progress": self.progress}

    def set_extra_state(self, state: Any) -> None:
        """Take the progress from a state dict."""
        self.set_progress(state["progress"])

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"tau_min={self.tau_min}, tau_max={self.tau_max}"


class CosineScheduleTemperature(ScheduledTemperature):
    r"""One temperature for all pairs: τ(t) = τ_min + ½ (τ_max - τ_min)(1 + cos(2π c t)).

    t in [0, 1] is the progress of training, c the number of cycles. Source: Kukleva et al.,
    "Temperature schedules" (arXiv 2303.13664): 0.1 to 1.0 with a period of 400 of 2000 epochs,
    hence 5 cycles. The temperature has no gradient.

    Args:
        tau_min: lowest temperature.
        tau_max: highest temperature, at the start.
        cycles: periods in the whole training, positive.

    Raises:
        ValueError: an argument is outside its range.

    >>> import torch
    >>> temperature = CosineScheduleTemperature(0.1, 1.0, cycles=5)
    >>> temperature.set_progress(0.1)
    >>> temperature(torch.tensor([0.0]))
    tensor([0.1000])
    """

    def __init__(self, tau_min: float = 0.1, tau_max: float = 1.0, cycles: float = 5.0) -> None:
        super().__init__(tau_min, tau_max)
        check_positive(cycles=cycles)
        self.cycles = cycles

    def current(self) -> ConstantTemperature:
        """Return the temperature at the present progress."""
        wave = (1 + math.cos(2 * math.pi * self.cycles * self.progress)) / 2
        return ConstantTemperature(self.tau_min + (self.tau_max - self.tau_min) * wave)

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        return f"{super().extra_repr()}, cycles={self.cycles}"


class StabilisedTemperature(ScheduledTemperature):
    """`CosineTemperature` whose tau_min rises linearly to tau_max over the training.

    Source: a commented-out part of the authors' code. At the end τ is tau_max for every pair.

    Args:
        tau_min: temperature at s = 0 at the start of training.
        tau_max: temperature at s = ±1, and everywhere at the end.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.

    >>> import torch
    >>> temperature = StabilisedTemperature(0.1, 0.2)
    >>> temperature.set_progress(0.5)
    >>> temperature(torch.tensor([0.0, 1.0]))
    tensor([0.1500, 0.2000])
    """

    def __init__(self, tau_min: float = 0.1, tau_max: float = 0.2) -> None:
        super().__init__(tau_min, tau_max)
        self.current()  # warns where s/tau(s) is not monotone

    def current(self) -> CosineTemperature:
        """Return the temperature at the present progress."""
        rise = self.progress * (self.tau_max - self.tau_min)
        return CosineTemperature(min(self.tau_min + rise, self.tau_max), self.tau_max)
