"""MoCo v2+ with a temperature that follows each pair's similarity (DySTreSS, arXiv 2308.01140)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce_queue
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_registry.methods.mocov2plus import MoCoV2PlusMixin


class MoCoV2PlusDynTempMixin(DynTempMixin, MoCoV2PlusMixin):
    """MoCo v2+'s step with `dyntemp_infonce_queue` as its loss."""

    KNOWN_CANDIDATES: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {**MoCoV2PlusMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}

    def contrastive_loss(
        self, query: Tensor, key: Tensor, queue: Tensor, indexes: Tensor
    ) -> Tensor:
        """Compare `query` (N, D) of images `indexes` (N,) with `key` (N, D) and `queue` (D, K)."""
        return dyntemp_infonce_queue(
            query,
            key,
            queue,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
            indexes=indexes,
        )
