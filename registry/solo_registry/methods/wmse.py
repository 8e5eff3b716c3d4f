"""W-MSE (Ermolov et al. 2021, arXiv 2007.06346)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.loss import WMSELoss
from lightly.models.modules.heads import BYOLProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import full_precision, to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.kwargs import projector_widths
from solo_registry.methods.parts.method import MethodMixin


class WMSEMixin(MethodMixin):
    """W-MSE over any base class; exactly two views.

    Small crops are dropped: solo-learn's ImageNet-100 recipe has six, but its method never compares
    them. Both views of a pair get a gradient, as in the paper (eq. 4) and its code. solo-learn's
    loss has the same value, but stops the gradient at one of them.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(1024, 64),
        "whitening_iters": Kwarg(
            1, "Random divisions of the batch in each step.", above=0, most=1000
        ),
        "whitening_size": Kwarg(
            128,
            "Images that are whitened together: a divisor of the batch, at least twice "
            "proj_output_dim.",
            above=0,
        ),
        "whitening_eps": Kwarg(0.0, "Share of the identity in the covariance.", least=0, most=1),
    }

    DROPS_SMALL: ClassVar[bool] = True
    PER_PROCESS: ClassVar[str] = "each process whitens random parts of its batch"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = BYOLProjectionHead(
            self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim
        )
        self.criterion = WMSELoss(
            embedding_dim=kwargs.proj_output_dim,
            eps=kwargs.whitening_eps,
            track_running_stats=False,
            w_iter=kwargs.whitening_iters,
            w_size=kwargs.whitening_size,
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check that a part of the batch can be whitened."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        kwargs, batch = cfg.method_kwargs, cfg.optimizer.batch_size
        size, least = kwargs.whitening_size, 2 * kwargs.proj_output_dim
        if batch % size or size < least:
            raise UserError(
                f"method_kwargs.whitening_size is {size}: it must divide optimizer.batch_size, "
                f"{batch}, and be at least twice method_kwargs.proj_output_dim, {least}. For this "
                f"batch method_kwargs.whitening_size={batch} and "
                f"method_kwargs.proj_output_dim={max(1, min(kwargs.proj_output_dim, batch // 2))} "
                "work"
            )
        return cfg

    @classmethod
    def batch_unit(cls, cfg: DictConfig) -> int:
        """Return `whitening_size`."""
        size: int = cfg.method_kwargs.whitening_size
        return size

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the distance of the whitened views."""
        out = super().training_step(batch, batch_idx)
        z = torch.cat(out["z"])
        with full_precision(z):  # Cholesky needs it
            loss = self.criterion(to_float32(z))
        return self.total(out, loss, "wmse")


class WMSE(WMSEMixin, BaseMethod):
    """W-MSE on our own engine."""
