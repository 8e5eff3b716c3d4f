"""The methods on our own engine."""

from __future__ import annotations

from solo_dyntemp.methods.mocov2plus_dyntemp import MoCoV2PlusDynTempMixin
from solo_dyntemp.methods.simclr_dyntemp import SimCLRDynTempMixin
from solo_registry.contract import BaseMethod, BaseMomentumMethod


class SimCLRDynTemp(SimCLRDynTempMixin, BaseMethod):
    """`method=simclr_dyntemp`."""


class MoCoV2PlusDynTemp(MoCoV2PlusDynTempMixin, BaseMomentumMethod):
    """`method=mocov2plus_dyntemp`."""
