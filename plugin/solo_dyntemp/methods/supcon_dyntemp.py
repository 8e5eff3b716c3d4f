"""SupCon with a temperature that follows each pair's similarity (arXiv 2308.01140, 2004.11362)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_supcon
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_dyntemp.methods.wide_head import WideHeadMixin
from solo_registry.catalog.kwargs import Kwarg
from solo_registry.methods.base import Batch
from solo_registry.methods.supcon import SupConMixin


class SupConDynTempMixin(WideHeadMixin, SupConMixin):
    """SupCon's step with `dyntemp_supcon` as its loss."""

    indexes: Tensor | None = None  # data set index of each row of the step's batch
    KWARGS: ClassVar[dict[str, Any]] = {
        **SupConMixin.KWARGS,
        **DynTempMixin.DYNTEMP_KWARGS,
        "form": Kwarg(
            "in",
            "Whether the mean over the positives is in the logarithm (solo-learn's form) or out of "
            "it (the form that the paper prefers).",
            choices=("in", "out"),
        ),
    }

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; a temperature per sample needs the indexes, which are not the groups here."""
        self.indexes = batch[0].repeat(self.num_crops)
        return super().training_step(batch, batch_idx)

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare all views `z` (V*N, D); rows of equal `groups` (V*N,) are positives."""
        return dyntemp_supcon(
            z,
            groups,
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            form=self.cfg.method_kwargs.form,
            indexes=self.indexes,
        )
