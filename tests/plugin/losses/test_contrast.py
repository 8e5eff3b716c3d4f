"""Which kernel computes a loss."""

from __future__ import annotations

import torch

from solo_dyntemp.losses.contrast import CROSSOVER, choose
from solo_dyntemp.temperature import CosineTemperature, DualConstantTemperature

COSINE = CosineTemperature(0.1, 0.2)


def test_auto_is_dense_below_the_crossover_and_where_tiled_cannot():
    rows, many = torch.zeros(10, 3), CROSSOVER["cpu"] // 10
    assert choose("auto", COSINE, 2, rows, many) == "tiled"
    assert choose("auto", COSINE, 2, rows, many - 1) == "dense"
    assert choose("auto", COSINE, None, rows, many) == "dense"
    assert choose("auto", DualConstantTemperature(), 2, rows, many) == "dense"
