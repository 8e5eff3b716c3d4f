"""LeJEPA (Balestriero and LeCun 2025, arXiv 2511.08544): invariance, and Gaussian projections."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.loss.lejepa_loss import SIGReg, lejepa_invariance_loss
from lightly.models.modules.heads import LeJEPAProjectionHead
from lightly.utils.dist import world_size
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import COUNT, Kwarg
from solo_registry.data.hashing import mix
from solo_registry.losses import to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin


class LeJEPAMixin(MethodMixin):
    """LeJEPA over any base class; several views and multi-crop.

    The invariance pulls every view to the mean of the large ones. SIGReg pulls the distribution of
    all processes' projections to a standard Gaussian, along random directions that depend on the
    seed and the step alone.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 64),
        "lamb": Kwarg(
            0.05, "SIGReg's share of the loss; the rest is the invariance.", least=0, most=1
        ),
        "num_vectors": Kwarg(1024, "Random directions of SIGReg in each step.", **COUNT),
        "knots": Kwarg(
            17, "Frequencies at which SIGReg compares distributions.", least=2, most=10_000
        ),
        "t_max": Kwarg(3.0, "Largest of SIGReg's frequencies.", above=0),
    }
    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = LeJEPAProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )
        self.sigreg = SIGReg(
            knots=kwargs.knots,
            t_max=kwargs.t_max,
            num_vectors=kwargs.num_vectors,
            gather_distributed=world_size() > 1,
        )

    def regularizer(self, z: Tensor) -> Tensor:
        """Return SIGReg of all views `z` (V, N, D), without a change of the random state."""
        devices = [z.device] if z.is_cuda else []
        with torch.random.fork_rng(devices), torch.autocast(z.device.type, enabled=False):
            torch.manual_seed(mix(b"directions", self.cfg.seed, self.global_step))
            loss: Tensor = self.sigreg(z)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: `lamb` of SIGReg and 1 - `lamb` of the invariance."""
        out = super().training_step(batch, batch_idx)
        z = to_float32(torch.stack(out["z"]))
        invariance = lejepa_invariance_loss(all_proj=z, global_proj=z[: self.num_large_crops])
        lamb: float = self.cfg.method_kwargs.lamb
        return self.total(out, lamb * self.regularizer(z) + (1 - lamb) * invariance, "lejepa")


class LeJEPA(LeJEPAMixin, BaseMethod):
    """LeJEPA on our own engine."""
