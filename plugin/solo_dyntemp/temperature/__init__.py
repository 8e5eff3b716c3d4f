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
    TauRange,
    Temperature,
    largest_logit,
    monotone_bound,
)
from solo_dyntemp.temperature.build import (
    build_temperature,
    temperature_keywords,
    temperature_outputs,
)
from solo_dyntemp.temperature.controls import DualConstantTemperature, ShuffledTemperature
from solo_dyntemp.temperature.isogclr import ISogCLRTemperature
from solo_dyntemp.temperature.learned import (
    RGCLTemperature,
    TempNetTemperature,
    UncertaintyTemperature,
)
from solo_dyntemp.temperature.negatives import ADNCETemperature, GloFNDTemperature
from solo_dyntemp.temperature.oracles import (
    ClassFrequencyTemperature,
    MMTSTemperature,
    SameClassTemperature,
)
from solo_dyntemp.temperature.pairwise import (
    ArctanhTemperature,
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
from solo_dyntemp.temperature.spline import SplineTemperature
from solo_dyntemp.temperature.temo import TeMoTemperature
from solo_registry.metrics.pair_mask import PairMask

__all__ = [
    "ADNCETemperature",
    "ArctanhTemperature",
    "BatchContext",
    "ClassFrequencyTemperature",
    "ConstantTemperature",
    "CosineScheduleTemperature",
    "CosineTemperature",
    "DualConstantTemperature",
    "DualTemperature",
    "ExponentialTemperature",
    "FunctionTemperature",
    "GloFNDTemperature",
    "ISogCLRTemperature",
    "InvertedCosineTemperature",
    "LearnableTemperature",
    "LinearTemperature",
    "MACLTemperature",
    "MMTSTemperature",
    "MonotoneCosineTemperature",
    "Outcome",
    "PairMask",
    "RGCLTemperature",
    "SameClassTemperature",
    "ScaledTemperature",
    "ShiftedCosineTemperature",
    "ShuffledTemperature",
    "SplineTemperature",
    "StabilisedTemperature",
    "TauRange",
    "TeMoTemperature",
    "TempNetTemperature",
    "Temperature",
    "TemperatureLike",
    "UncertaintyTemperature",
    "as_temperature",
    "build_temperature",
    "largest_logit",
    "monotone_bound",
    "temperature_keywords",
    "temperature_outputs",
]
