"""All4One (Estepa et al. 2023, arXiv 2303.09417)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import NNCLRPredictionHead, NNCLRProjectionHead
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_registry.catalog.kwargs import TAU, WIDTH, Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import full_precision, infonce_paired, normalize, to_float32
from solo_registry.methods.base import BaseMomentumMethod, Batch, momentum_copy
from solo_registry.methods.parts.kwargs import QUEUE_SIZE, projector_widths
from solo_registry.methods.parts.method import ContrastiveMixin, MomentumProjectorMixin
from solo_registry.methods.parts.queue import KeyQueue, queue_size
from solo_registry.optimizers import ParamGroup

NEIGHBOURS, HEADS, LAYERS = 5, 8, 3
ATTENTION_TEMPERATURE = 0.1  # fixed in solo-learn, whatever `temperature` is


def position_code(dim: int) -> Tensor:
    """Return the position code of the tokens (NEIGHBOURS, D), as in the authors' code.

    Sine and cosine run along the features; each pair of tokens has one frequency.
    """
    token, feature = torch.arange(NEIGHBOURS)[:, None], torch.arange(dim)[None, :]
    angle = feature / 10000 ** ((token - token % 2) / (NEIGHBOURS + 1))
    return torch.where(token % 2 == 0, angle.sin(), angle.cos())


def redundancy(key: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared errors on and off the diagonal of two views' correlation."""
    key, z = to_float32(key), to_float32(z)
    with full_precision(z):
        correlation = F.normalize(key, dim=0).T @ F.normalize(z, dim=0)
    error = (correlation - torch.eye(len(correlation), device=z.device, dtype=z.dtype)).square()
    diagonal = error.diagonal()
    rest = (error.sum() - diagonal.sum()) / (error.numel() - len(error))
    return diagonal.mean(), rest


class All4OneMixin(ContrastiveMixin, MomentumProjectorMixin):
    """All4One over any momentum base class; exactly two views.

    Its three losses compare neighbours (as NNCLR), the attention over five neighbours, and the
    correlation of the features.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 256, "Width of the projections, a multiple of 8."),
        "pred_hidden_dim": Kwarg(4096, "Width of both predictors' hidden layers.", **WIDTH),
        "temperature": Kwarg(0.2, "Temperature of the loss over the neighbours.", **TAU),
        "queue_size": QUEUE_SIZE,
    }

    HEADS: ClassVar[tuple[str, ...]] = (
        "projector",
        "predictor",
        "attention_predictor",
        "attention",
    )
    PER_PROCESS: ClassVar[str] = "each process has its own dropout and feature norms"

    code: Tensor

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim, hidden = kwargs.proj_output_dim, kwargs.pred_hidden_dim
        self.projector = NNCLRProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.momentum_projector = momentum_copy(self.projector)
        self.predictor = NNCLRPredictionHead(dim, hidden, dim)
        self.attention_predictor = NNCLRPredictionHead(dim, hidden, dim)
        layer = nn.TransformerEncoderLayer(dim, HEADS, 2 * dim, batch_first=True)
        self.attention = nn.TransformerEncoder(layer, LAYERS)
        self.register_buffer("code", position_code(dim), persistent=False)
        self.queue = KeyQueue(1, dim, queue_size(cfg))

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check that the attention heads divide the projection."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        if (dim := cfg.method_kwargs.proj_output_dim) % HEADS:
            raise UserError(f"method_kwargs.proj_output_dim must be a multiple of 8, got {dim}")
        return cfg

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Gives the attention a tenth of the learning rate, as solo-learn's recipe does."""
        lr = OmegaConf.select(self.cfg, "optimizer.effective_lr") or self.cfg.optimizer.lr
        return [
            {**group, "lr": lr / 10} if group["name"] == "attention" else group
            for group in super().learnable_params
        ]

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the projections `z` and both predictors' `p` and `q`, (N, D) each."""
        z = self.projector(feats)
        return {"z": z, "p": self.predictor(z), "q": self.attention_predictor(z)}

    def summary(self, tokens: Tensor) -> Tensor:
        """Return the attention's output (N, D) at the first of the tokens (N, NEIGHBOURS, D)."""
        attended: Tensor = self.attention(tokens + self.code)
        return attended[:, 0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the three losses in both directions."""
        out = super().training_step(batch, batch_idx)
        keys = [normalize(key) for key in out["momentum_z"]]
        near = [self.queue.nearest(key, NEIGHBOURS) for key in keys]
        self.queue.enqueue(keys[0])
        tau: float = self.cfg.method_kwargs.temperature
        neighbour, attention, diagonal, rest = [], [], [], []
        for one, other in ((0, 1), (1, 0)):
            neighbour.append(infonce_paired(near[one][:, 0], out["p"][other], tau))
            shifted = torch.cat([out["q"][other][:, None], near[other][:, :-1]], dim=1)
            summaries = self.summary(near[one]), self.summary(shifted)
            attention.append(infonce_paired(*summaries, ATTENTION_TEMPERATURE))
            on, off = redundancy(keys[one], out["z"][other])
            diagonal.append(on)
            rest.append(off)
        parts = {
            "train_nnclr_loss": torch.stack(neighbour).mean(),
            "train_attention_loss": torch.stack(attention).mean(),
            "train_feature_loss": 5 * (mean_root(diagonal) + mean_root(rest)),
        }
        self.log_dict(parts, on_epoch=True, sync_dist=True)
        return self.total(out, 0.5 * torch.stack(list(parts.values())).sum(), "all4one")


def mean_root(values: list[Tensor]) -> Tensor:
    """Return the square root of the mean."""
    return torch.stack(values).mean().sqrt()


class All4One(All4OneMixin, BaseMomentumMethod):
    """All4One on our own engine."""
