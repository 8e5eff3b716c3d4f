"""Which base class each method's mixin is bound to: one table for our engine and for solo-learn."""

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

MIXINS: dict[str, type] = {
    "simclr_dyntemp": SimCLRDynTempMixin,
    "mocov2plus_dyntemp": MoCoV2PlusDynTempMixin,
    "mocov3_dyntemp": MoCoV3DynTempMixin,
    "nnclr_dyntemp": NNCLRDynTempMixin,
    "dcl_dyntemp": DCLDynTempMixin,
    "dclw_dyntemp": DCLWDynTempMixin,
    "supcon_dyntemp": SupConDynTempMixin,
    "macl": MACLMixin,
    "temperature_schedule": TemperatureScheduleMixin,
    "isogclr": ISogCLRMixin,
    "dual_temperature": DualTemperatureMixin,
    "simclr_learnable": SimCLRLearnableMixin,
}
MOMENTUM = ("mocov2plus_dyntemp", "mocov3_dyntemp")  # those on a framework's BaseMomentumMethod


def bound(base: type, momentum_base: type, module: str) -> dict[str, type]:
    """Bind every mixin to a framework's base classes; `XMixin` gives the class `X`.

    Args:
        base: the framework's `BaseMethod`.
        momentum_base: its `BaseMomentumMethod`.
        module: the module that holds the classes.

    Returns:
        The classes by the names of the methods.
    """
    return {
        name: type(
            mixin.__name__.removesuffix("Mixin"),
            (mixin, momentum_base if name in MOMENTUM else base),
            {"__module__": module, "__doc__": f"`method={name}`."},
        )
        for name, mixin in MIXINS.items()
    }
