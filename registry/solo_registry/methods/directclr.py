"""DirectCLR (Jing et al. 2022, arXiv 2110.09348): no projector."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from solo_registry.catalog.kwargs import WIDTH, Kwarg
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin

SHARE = 360 / 2048  # the paper's 360 of ResNet-50's features


class FirstFeatures(nn.Module):
    """Keeps the first `count` features."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, feats: Tensor) -> Tensor:
        """Map (N, F) to (N, count)."""
        return feats[:, : self.count]


class DirectCLRMixin(SimCLRMixin):
    """SimCLR's step on the first features themselves; several views and multi-crop.

    The authors compare a view with the N images of the other view. Here a view is compared with all
    2N - 1 others, as in SimCLR and in lightly's DirectCLR.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "loss_dim": Kwarg(
            None,
            "Number of features in the loss; null is the paper's share, 360 of 2048.",
            kind=int,
            **WIDTH,
        ),
        "temperature": 0.1,
    }
    HEADS: ClassVar[tuple[str, ...]] = ()

    def build_projector(self) -> nn.Module:
        """Return a module that keeps the first features, in place of a projector."""
        count: Any = self.cfg.method_kwargs.loss_dim
        if count is None:
            count = max(1, round(SHARE * self.features_dim))
        if not isinstance(count, int) or not 1 <= count <= self.features_dim:
            raise UserError(
                f"method_kwargs.loss_dim must be from 1 to the backbone's {self.features_dim} "
                f"features, got {count}"
            )
        return FirstFeatures(count)


class DirectCLR(DirectCLRMixin, BaseMethod):
    """DirectCLR on our own engine."""
