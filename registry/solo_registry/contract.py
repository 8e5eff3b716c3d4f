"""Moved to `solo_registry.methods.base`; kept for packages that were written for this name."""

from solo_registry.methods.base import (
    BaseMethod,
    BaseMomentumMethod,
    Batch,
    Host,
    MomentumHost,
    momentum_copy,
)

__all__ = [
    "BaseMethod",
    "BaseMomentumMethod",
    "Batch",
    "Host",
    "MomentumHost",
    "momentum_copy",
]
