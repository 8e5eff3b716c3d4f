"""The methods on our own engine."""

from __future__ import annotations

from solo_dyntemp.methods.dcl_dyntemp import DCLDynTempMixin, DCLWDynTempMixin
from solo_dyntemp.methods.mocov2plus_dyntemp import MoCoV2PlusDynTempMixin
from solo_dyntemp.methods.mocov3_dyntemp import MoCoV3DynTempMixin
from solo_dyntemp.methods.nnclr_dyntemp import NNCLRDynTempMixin
from solo_dyntemp.methods.simclr_dyntemp import SimCLRDynTempMixin
from solo_dyntemp.methods.simclr_temperatures import (
    DualTemperatureMixin,
    ISogCLRMixin,
    MACLMixin,
    SimCLRLearnableMixin,
    TemperatureScheduleMixin,
)
from solo_dyntemp.methods.supcon_dyntemp import SupConDynTempMixin
from solo_registry.methods.base import BaseMethod, BaseMomentumMethod


class SimCLRDynTemp(SimCLRDynTempMixin, BaseMethod):
    """`method=simclr_dyntemp`."""


class MoCoV2PlusDynTemp(MoCoV2PlusDynTempMixin, BaseMomentumMethod):
    """`method=mocov2plus_dyntemp`."""


class DCLDynTemp(DCLDynTempMixin, BaseMethod):
    """`method=dcl_dyntemp`."""


class DCLWDynTemp(DCLWDynTempMixin, BaseMethod):
    """`method=dclw_dyntemp`."""


class MoCoV3DynTemp(MoCoV3DynTempMixin, BaseMomentumMethod):
    """`method=mocov3_dyntemp`."""


class NNCLRDynTemp(NNCLRDynTempMixin, BaseMethod):
    """`method=nnclr_dyntemp`."""


class SupConDynTemp(SupConDynTempMixin, BaseMethod):
    """`method=supcon_dyntemp`."""


class MACL(MACLMixin, BaseMethod):
    """`method=macl`."""


class TemperatureSchedule(TemperatureScheduleMixin, BaseMethod):
    """`method=temperature_schedule`."""


class ISogCLR(ISogCLRMixin, BaseMethod):
    """`method=isogclr`."""


class DualTemperature(DualTemperatureMixin, BaseMethod):
    """`method=dual_temperature`."""


class SimCLRLearnable(SimCLRLearnableMixin, BaseMethod):
    """`method=simclr_learnable`."""
