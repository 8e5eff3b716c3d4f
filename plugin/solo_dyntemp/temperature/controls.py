"""Controls: temperatures that the pair's own similarity does not decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solo_dyntemp.temperature.base import Temperature, check_range
from solo_dyntemp.temperature.pairwise import CosineTemperature
from solo_pairs import PairMask


@dataclass(frozen=True)
class DualConstantTemperature(Temperature):
    """Positives at tau_max, negatives at tau_min: like `CosineTemperature` early in training.

    Our own control. Isotropic negatives have similarities near 0, so DySTreSS gives them nearly
    tau_min; it gives aligned positives tau_max. The temperature has no gradient.

    Args:
        tau_min: temperature of negatives.
        tau_max: temperature of positives.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.

    >>> mask = PairMask(positive=torch.tensor([[True, False]]))
    >>> DualConstantTemperature(0.1, 0.2).pairs(torch.tensor([[0.5, 0.5]]), mask)
    tensor([[0.2000, 0.1000]])
    """

    elementwise: ClassVar[bool] = False
    tau_min: float = 0.1
    tau_max: float = 0.2

    def __post_init__(self) -> None:
        check_range(self.tau_min, self.tau_max)

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        """Return tau_max where a pair is positive, else tau_min."""
        return torch.full_like(s, self.tau_min).masked_fill_(mask.positive, self.tau_max)


@dataclass(frozen=True)
class ShuffledTemperature(Temperature):
    """The temperatures of `CosineTemperature`, but each negative gets another negative's.

    Our own control. It keeps the mixture of temperatures and breaks their tie to the similarity.
    For each anchor it rotates the negatives' temperatures by about 0.38 of their number, in the
    order of the candidates. The loader makes that order random, so no random numbers are drawn
    here, and a resumed run repeats itself. Positives keep theirs. With detach_temperature=False
    the gradient goes to the pair whose temperature it was.

    Args:
        tau_min: temperature of a similarity of 0, before shuffling.
        tau_max: temperature of a similarity of ±1, before shuffling.

    Raises:
        ValueError: not 0 < tau_min <= tau_max, or not finite.

    >>> s = torch.tensor([[1.0, 0.0, 0.5, 1.0]])
    >>> mask = PairMask(positive=torch.tensor([[True, False, False, False]]))
    >>> ShuffledTemperature(0.1, 0.2).pairs(s, mask)
    tensor([[0.2000, 0.1500, 0.2000, 0.1000]])
    """

    elementwise: ClassVar[bool] = False
    tau_min: float = 0.1
    tau_max: float = 0.2

    def __post_init__(self) -> None:
        CosineTemperature(self.tau_min, self.tau_max)  # checks and warns

    def pairs(self, s: Tensor, mask: PairMask) -> Tensor:
        """Return the temperatures of the block, rotated among the negatives of each anchor."""
        tau = CosineTemperature(self.tau_min, self.tau_max)(s)
        negative = mask.negative
        counts = negative.sum(1, keepdim=True)
        places = negative.sort(dim=1, descending=True, stable=True).indices  # negatives first
        shift = (0.38 * counts).long().clamp_min(1)
        source = (negative.cumsum(1) - 1 + shift) % counts.clamp_min(1)
        return torch.where(negative, tau.gather(1, places.gather(1, source)), tau)
