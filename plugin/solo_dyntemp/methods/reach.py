"""How far a temperature reaches: the lowest and the highest that a loss can divide by."""

from __future__ import annotations

import copy
from functools import partial

import torch

from solo_dyntemp.temperature import BatchContext, PairMask, Temperature

SIMILARITIES = 201  # of a pair, on [-1, 1]; odd, so that 0 is among them
MOMENTS = 41  # of the training, from its start to its end
ALIGNED = (0.0, 0.5, 1.0)  # mean similarity of a batch's positive pairs


@torch.no_grad()
def reach(temperature: Temperature) -> tuple[float, float]:
    """Return the lowest and the highest temperature of any pair, by asking the temperature itself.

    It is asked as a loss asks it (`for_batch`, then `pairs`), at every similarity of a positive and
    of a negative pair, from the start of the training to its end, and for batches whose positives
    are unrelated to equal. A trained temperature is that of the start.

    Args:
        temperature: it is not changed.

    >>> from solo_dyntemp.temperature import CosineTemperature, MACLTemperature
    >>> reach(CosineTemperature(0.1, 0.2))
    (0.1, 0.2)
    >>> reach(MACLTemperature(0.1, alpha=0.5))
    (0.1, 0.15)
    """
    grid = torch.linspace(-1, 1, SIMILARITIES)
    s = torch.cat((grid, grid))[None]
    mask = PairMask(positive=(torch.arange(s.shape[1]) < len(grid))[None])
    asked = copy.deepcopy(temperature)
    low, high = float("inf"), 0.0
    for moment in torch.linspace(0, 1, MOMENTS).tolist():
        asked.set_progress(min(1.0, moment))
        for aligned in ALIGNED:
            batch = BatchContext(partial(torch.tensor, aligned), torch.zeros(1, dtype=torch.long))
            tau = asked.for_batch(batch).pairs(s, mask)
            low, high = min(low, float(tau.min())), max(high, float(tau.max()))
    return float(f"{low:.6g}"), float(f"{high:.6g}")
