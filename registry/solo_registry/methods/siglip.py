"""SigLIP's sigmoid loss on two views of an image (Zhai et al. 2023, arXiv 2303.15343)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_registry.catalog.kwargs import TAU, Kwarg
from solo_registry.losses import sigmoid_pairs
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.simclr import SimCLRMixin
from solo_registry.optimizers import ParamGroup


class SigLIPMixin(SimCLRMixin):
    """SimCLR's step with one binary decision for each pair of the two views.

    The first view stands for SigLIP's images, the second for its texts. Temperature and bias are
    trained, without weight decay.
    """

    INFONCE: ClassVar[bool] = False
    KWARGS: ClassVar[dict[str, Any]] = {
        **SimCLRMixin.KWARGS,
        "temperature": Kwarg(0.1, "Start value of the trained temperature.", **TAU),
        "bias": Kwarg(-10.0, "Start value of the trained bias."),
    }
    TWO_VIEWS: ClassVar[bool] = True

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(cfg.method_kwargs.temperature)))
        self.bias = nn.Parameter(torch.tensor(float(cfg.method_kwargs.bias)))

    @property
    def learnable_params(self) -> list[ParamGroup]:
        """Adds scale and bias."""
        trained = {"name": "sigmoid", "params": [self.log_scale, self.bias], "weight_decay": 0}
        return [*super().learnable_params, trained]

    def contrastive_loss(self, z: Tensor, groups: Tensor) -> Tensor:
        """Compare the two views `z` (2*N, D)."""
        z1, z2 = z.chunk(2)
        return sigmoid_pairs(z1, z2, self.log_scale, self.bias)

    def chance_loss(self) -> float | None:
        r"""Return the least loss of equal logits: N times the entropy of a share 1/N of positives.

        It is ln N + (N - 1) ln(N / (N - 1)), at a bias that gives every pair the probability 1/N.
        """
        n = self.images_a_step()
        return math.log(n) + (n - 1) * math.log(n / (n - 1)) if n > 1 else 0.0

    def temperature_curve(self, s: Tensor) -> Tensor:
        """Return the current trained temperature at every similarity."""
        return (-self.log_scale).exp().detach().to(s).expand_as(s)


class SigLIP(SigLIPMixin, BaseMethod):
    """The sigmoid loss on our own engine."""
