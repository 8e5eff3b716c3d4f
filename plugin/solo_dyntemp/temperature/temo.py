"""TeMo: from one temperature to τ(s), over the training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from solo_dyntemp.temperature.base import Outcome, Temperature
from solo_dyntemp.temperature.pairwise import ConstantTemperature
from solo_dyntemp.temperature.schedules import ScheduledTemperature

FLOOR = 2**-40  # of (1+s)/2: below it τ is constant, since the root has no slope at 0


@dataclass(frozen=True)
class _Modulated(Temperature):
    """τ(s), and the weights of the two losses at one progress."""

    tau_min: float
    tau_max: float
    progress: float

    def __call__(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        root = torch.add(s, 1, out=out).mul_(0.5).clamp_(min=FLOOR).sqrt_()
        # autograd needs the root, so it is overwritten only if there is a buffer
        return torch.mul(root, self.tau_max - self.tau_min, out=out).add_(self.tau_min)

    def derivative(self, s: Tensor, out: Tensor | None = None) -> Tensor:
        share = torch.add(s, 1, out=out).mul_(0.5)
        inside = torch.sub(share, FLOOR).sign_().clamp_(min=0)
        root = share.clamp_(min=FLOOR).sqrt_()
        return torch.div((self.tau_max - self.tau_min) / 4, root, out=out).mul_(inside)

    def weigh(self, outcome: Outcome) -> Tensor:
        plain = outcome.losses_at(ConstantTemperature(self.tau_min))
        return (1 - self.progress) ** 2 * plain + self.progress**2 * outcome.losses


class TeMoTemperature(ScheduledTemperature):
    r"""Temperature modulation: from InfoNCE with τ_min to InfoNCE with τ(s), over the training.

    τ(s) = τ_min + (τ_max - τ_min) √((1+s)/2), which grows with s. The loss is
    (1-t)² L(τ_min) + t² L(τ(s)), t the progress of training; at t = 1/2 it is half of either.
    s/τ(s) is always monotone. Source: Duka et al., "TeMo" (OpenReview rIv5ftmR3v), and their code
    with its quadratic schedule; there τ_min | τ_max = 0.01 | 0.05 for images and texts, and the
    gradient passes through τ, as with `detach_temperature=False`. They add up such losses of
    image and text, of two views of the image, and of two of the text. Here it is one such loss.

    Args:
        tau_min: temperature of the first loss, and of τ(s) at s = -1.
        tau_max: temperature at s = 1.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.

    >>> TeMoTemperature(0.1, 0.2)(torch.tensor([-0.5, 1.0]))
    tensor([0.1500, 0.2000])
    """

    def __init__(self, tau_min: float = 0.01, tau_max: float = 0.05) -> None:
        super().__init__(tau_min, tau_max)

    def current(self) -> Temperature:
        """Return τ(s), and the weights of the losses at the present progress."""
        return _Modulated(self.tau_min, self.tau_max, self.progress)
