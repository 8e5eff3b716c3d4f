"""Decoupled contrastive learning (Yeh et al. 2021, arXiv 2110.06848): DCL and its weighted DCLW."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from lightly.loss import DCLLoss
from lightly.utils.dist import rank, world_size
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.losses import full_precision, gathered, to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.simclr import SimCLRMixin
from solo_registry.metrics.pair_mask import ComparedPairs


class DCLMixin(SimCLRMixin):
    """SimCLR's step with the positive left out of the denominator; exactly two views."""

    TWO_VIEWS: ClassVar[bool] = True

    def positive_weight(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return a function from two views (N, D) to the positives' weights (N,), or None."""
        return None

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D)."""
        criterion = DCLLoss(
            self.cfg.method_kwargs.temperature,
            weight_fn=self.positive_weight(),
            gather_distributed=world_size() > 1,
        )
        with full_precision(z):
            loss: Tensor = criterion(*to_float32(z).chunk(2))
        return loss

    def chance_loss(self) -> float | None:
        """Return ln(2 N - 2), without the positive."""
        return math.log(max(1, 2 * self.images_a_step() - 2))

    def compared_pairs(self, outs: dict[str, list[Tensor]], batch: Batch) -> ComparedPairs:
        """Return all views against all, without the positives in the denominators."""
        pairs = super().compared_pairs(outs, batch)
        return replace(pairs, mask=pairs.mask.decoupled())


class DCLWMixin(DCLMixin):
    """DCL with well-aligned positives weighted down."""

    KWARGS: ClassVar[dict[str, Any]] = {
        **DCLMixin.KWARGS,
        "sigma": Kwarg(
            0.5,
            "Width of the weighting: a smaller one gives well-aligned positives less weight.",
            above=0,
        ),
    }

    def positive_weight(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return 2 - N softmax(s / sigma) of the positives' similarities s (eq. 7)."""

        def weight(z1: Tensor, z2: Tensor) -> Tensor:
            s = gathered((z1 * z2).sum(1).detach())
            sigma: float = self.cfg.method_kwargs.sigma
            weights = 2 - len(s) * (s / sigma).softmax(0)
            return weights[rank() * len(z1) :][: len(z1)]

        return weight


class DCL(DCLMixin, BaseMethod):
    """DCL on our own engine."""


class DCLW(DCLWMixin, BaseMethod):
    """DCLW on our own engine."""
