"""ReSSL (Zheng et al. 2021, arXiv 2107.09282)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import TAU, Kwarg
from solo_registry.losses import full_precision, normalize
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.heads import projector
from solo_registry.methods.parts.kwargs import QUEUE_SIZE, projector_widths
from solo_registry.methods.parts.method import MethodMixin, MomentumProjectorMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size


def relational_loss(
    query: Tensor, key: Tensor, queue: Tensor, temperature_q: float, temperature_k: float
) -> Tensor:
    """Cross-entropy from the key's to the query's distribution over the queue (eq. 5).

    Args:
        query: (N, D) student's projections, not normalised.
        key: (N, D) teacher's, without gradient, not normalised.
        queue: (D, K), normalised.
        temperature_q: of the student, > 0.
        temperature_k: of the teacher, > 0; a lower one makes its distribution sharper.

    Returns:
        Scalar mean over the images.
    """
    query, key = normalize(query), normalize(key)
    queue = queue.to(query.dtype)
    with full_precision(query):
        wanted = (key @ queue / temperature_k).softmax(1)
        return F.cross_entropy(query @ queue / temperature_q, wanted)


class ReSSLMixin(MethodMixin, MomentumProjectorMixin):
    """ReSSL over any momentum base class; exactly two views.

    The student sees the first view, the teacher the second. The second view should have the weaker
    augmentations (`augmentations=relational32`).
    """

    ONE_IMAGE: ClassVar[bool] = True
    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(4096, 256),
        "temperature_q": Kwarg(0.1, "Temperature of the student.", **TAU),
        "temperature_k": Kwarg(
            0.04, "Temperature of the teacher; lower than the student's sharpens it.", **TAU
        ),
        "queue_size": QUEUE_SIZE,
    }

    UNUSED: ClassVar[tuple[str, ...]] = (
        "base_tau_momentum",
        "final_tau_momentum",
        "momentum_classifier",
    )

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        self.projector = projector(self.features_dim, kwargs)
        self.momentum_projector = momentum_copy(self.projector)
        self.queue = KeyQueue(1, kwargs.proj_output_dim, queue_size(cfg))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the student's relations to the queue follow the teacher's."""
        out = super().training_step(batch, batch_idx)
        kwargs = self.cfg.method_kwargs
        query, key = out["z"][0], out["momentum_z"][1]
        queue = self.queue.keys[0].clone()  # the backward pass needs it after `enqueue`
        loss = relational_loss(query, key, queue, kwargs.temperature_q, kwargs.temperature_k)
        self.queue.enqueue(normalize(key))
        return self.total(out, loss, "ressl")


class ReSSL(ReSSLMixin, BaseMomentumMethod):
    """ReSSL on our own engine."""
