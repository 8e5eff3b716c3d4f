"""Temperatures: the only place that holds the formulas of τ.

>>> import torch
>>> CosineTemperature(0.1, 0.2)(torch.tensor([-1.0, 0.0, 1.0]))
tensor([0.2000, 0.1000, 0.2000])
"""

from solo_dyntemp.temperature.adapt import FunctionTemperature, TemperatureLike, as_temperature
from solo_dyntemp.temperature.adaptive import (
    DualTemperature,
    LearnableTemperature,
    MACLTemperature,
)
from solo_dyntemp.temperature.base import (
    BatchContext,
    Outcome,
    Temperature,
    largest_logit,
    monotone_bound,
)
from solo_dyntemp.temperature.build import build_temperature, temperature_keywords
from solo_dyntemp.temperature.controls import DualConstantTemperature, ShuffledTemperature
from solo_dyntemp.temperature.isogclr import ISogCLRTemperature
from solo_dyntemp.temperature.pairwise import (
    ConstantTemperature,
    CosineTemperature,
    ExponentialTemperature,
    InvertedCosineTemperature,
    LinearTemperature,
    MonotoneCosineTemperature,
    ShiftedCosineTemperature,
)
from solo_dyntemp.temperature.scaled import ScaledTemperature
from solo_dyntemp.temperature.schedules import CosineScheduleTemperature, StabilisedTemperature
from solo_registry.metrics.pair_mask import PairMask

__all__ = [
    "BatchContext",
    "ConstantTemperature",
    "CosineScheduleTemperature",
    "CosineTemperature",
    "DualConstantTemperature",
    "DualTemperature",
    "ExponentialTemperature",
    "FunctionTemperature",
    "ISogCLRTemperature",
    "InvertedCosineTemperature",
    "LearnableTemperature",
    "LinearTemperature",
    "MACLTemperature",
    "MonotoneCosineTemperature",
    "Outcome",
    "PairMask",
    "ScaledTemperature",
    "ShiftedCosineTemperature",
    "ShuffledTemperature",
    "StabilisedTemperature",
    "Temperature",
    "TemperatureLike",
    "as_temperature",
    "build_temperature",
    "largest_logit",
    "monotone_bound",
    "temperature_keywords",
]
