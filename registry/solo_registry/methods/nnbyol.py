"""BYOL with nearest neighbours as targets (Dwibedi et al. 2021, arXiv 2104.14548)."""

from __future__ import annotations

from typing import Any, ClassVar

from solo_registry.methods.base import BaseMomentumMethod
from solo_registry.methods.byol import BYOLMixin
from solo_registry.methods.parts.kwargs import QUEUE_SIZE
from solo_registry.methods.parts.queue import NeighbourQueueMixin


class NNBYOLMixin(NeighbourQueueMixin, BYOLMixin):
    """BYOL's step; nearest neighbours in a queue replace the targets. Exactly two views."""

    KWARGS: ClassVar[dict[str, Any]] = {**BYOLMixin.KWARGS, "queue_size": QUEUE_SIZE}
    TWO_VIEWS: ClassVar[bool] = True


class NNBYOL(NNBYOLMixin, BaseMomentumMethod):
    """NNBYOL on our own engine."""
