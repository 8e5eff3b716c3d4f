"""SimSiam with nearest neighbours as targets (Dwibedi et al. 2021, arXiv 2104.14548)."""

from __future__ import annotations

from typing import Any, ClassVar

from solo_registry.methods.base import BaseMethod
from solo_registry.methods.parts.kwargs import QUEUE_SIZE
from solo_registry.methods.parts.queue import NeighbourQueueMixin
from solo_registry.methods.simsiam import SimSiamMixin


class NNSiamMixin(NeighbourQueueMixin, SimSiamMixin):
    """SimSiam's step; nearest neighbours in a queue replace the targets."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **SimSiamMixin.KWARGS,
        "pred_hidden_dim": 4096,
        "queue_size": QUEUE_SIZE,
    }


class NNSiam(NNSiamMixin, BaseMethod):
    """NNSiam on our own engine."""
