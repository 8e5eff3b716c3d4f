"""The methods on our own engine: a class for each row of `bindings.MIXINS`."""

from __future__ import annotations

from solo_dyntemp.hosts.bindings import bound
from solo_registry.methods.base import BaseMethod, BaseMomentumMethod

CLASSES = bound(BaseMethod, BaseMomentumMethod, __name__)
# as names of this module, which is where the registry and pickle look for them
globals().update({cls.__name__: cls for cls in CLASSES.values()})
