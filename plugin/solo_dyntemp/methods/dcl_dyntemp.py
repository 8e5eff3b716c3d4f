"""DCL and DCLW with a temperature that follows each pair's similarity (arXiv 2308.01140)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from solo_dyntemp.losses import dyntemp_dcl
from solo_dyntemp.methods.dyntemp import DynTempMixin
from solo_dyntemp.methods.wide_head import WideHeadMixin
from solo_registry.methods.dcl import DCLMixin, DCLWMixin


class DCLDynTempMixin(WideHeadMixin, DCLMixin):
    """DCL's step with `dyntemp_dcl` as its loss."""

    KWARGS: ClassVar[dict[str, Any]] = {**DCLMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D) of the images `groups` (2*N,)."""
        return dyntemp_dcl(
            *z.chunk(2),
            temperature=self.temperature,
            detach_temperature=self.detach_temperature,
            implementation=self.implementation,
            sigma=self.cfg.method_kwargs.get("sigma"),
            indexes=groups.chunk(2)[0],
        )


class DCLWDynTempMixin(DCLDynTempMixin):
    """DCLW's step: well-aligned positives are weighted down by `method_kwargs.sigma`."""

    KWARGS: ClassVar[dict[str, Any]] = {**DCLWMixin.KWARGS, **DynTempMixin.KERNEL_KWARGS}
