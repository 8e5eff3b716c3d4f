"""VICRegL (Bardes et al. 2022, arXiv 2210.01571): VICReg on pooled and on local features."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from lightly.models.modules.heads import VicRegLLocalProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import COUNT, WIDTH, Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import to_float32
from solo_registry.methods.base import BaseMethod
from solo_registry.methods.vicreg import VICRegMixin


class VICRegLMixin(VICRegMixin):
    """VICReg's step, and the same loss on local features that are nearest in feature space.

    It needs a backbone with a feature map (all of timm's) and exactly two views, as the paper's
    ResNet. Variance and covariance are means over the views, as in the authors' code; VICReg's are
    sums. The paper's other local term, which pairs the features nearest in the *image*, is left
    out, because our views do not know the place of their crop. The authors' code keeps all pairs
    of local features in this term, and 20 in the other.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **VICRegMixin.KWARGS,
        "local_proj_dim": Kwarg(512, "Width of the local projector's layers.", **WIDTH),
        "alpha": Kwarg(0.75, "Share of the loss on pooled features.", least=0, most=1),
        "num_matches": Kwarg(
            20,
            "Pairs of local features of a view, or all if the map has fewer.",
            **COUNT,
        ),
    }
    VARIANCE_FACTOR: ClassVar[float] = 1.0
    COVARIANCE_FACTOR: ClassVar[float] = 0.5
    HEADS: ClassVar[tuple[str, ...]] = ("projector", "local_projector")

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        backbone: Any = self.backbone
        if not hasattr(backbone, "forward_features"):
            raise UserError(
                f"method '{cfg.method}' needs a backbone with a feature map, such as timm's; "
                f"'{cfg.backbone.name}' has none"
            )
        size, dim = cfg.augmentations[0].crop_size, cfg.method_kwargs.local_proj_dim
        black = torch.zeros(1, cfg.data.image_channels, size, size)
        with torch.no_grad():
            width = self.local_features(backbone.eval().forward_features(black)).shape[2]
        backbone.train()
        self.local_projector = VicRegLLocalProjectionHead(width, dim, dim)

    def local_features(self, maps: Tensor) -> Tensor:
        """Reshape the output of timm's `forward_features` to (N, P, C), with P places."""
        if maps.ndim == 3:  # a transformer's tokens; the first may be no patches
            return maps[:, getattr(self.backbone, "num_prefix_tokens", 0) :]
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":
            return maps.flatten(1, 2)
        return maps.flatten(2).transpose(1, 2)

    def forward(self, X: Tensor) -> dict[str, Any]:
        """Adds the projections `z` (N, D) and `local` (N, P, D')."""
        backbone: Any = self.backbone
        maps = backbone.forward_features(self._layout(X))
        feats = backbone.forward_head(maps)
        out = {"logits": self.classifier(feats.detach()), "feats": feats}
        local = self.local_projector(self.local_features(maps))
        return {**out, **self.project(feats), "local": local}

    def local_loss(self, local1: Tensor, local2: Tensor) -> Tensor:
        """Return VICReg's loss of the two views' nearest local features (N, P, D'), both ways."""
        count: int = self.cfg.method_kwargs.num_matches
        pairs = (nearest_pairs(local1, local2, count), nearest_pairs(local2, local1, count))
        losses = [self.regularised_loss(*pair) for pair in pairs]
        return torch.stack(losses).mean()

    def views_loss(self, out: dict[str, Any]) -> Tensor:
        """Return `alpha` of the pooled features' loss plus 1 - `alpha` of the local features'."""
        alpha: float = self.cfg.method_kwargs.alpha
        return alpha * super().views_loss(out) + (1 - alpha) * self.local_loss(*out["local"])


def nearest_pairs(anchors: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pair each anchor with its nearest candidate, and keep the `count` closest pairs.

    Pairs keep the order of their anchors, because variance and covariance are over the images of a
    batch at one place, as in the authors' code.

    Args:
        anchors: (N, P, D).
        candidates: (N, Q, D) of the same images.
        count: number of pairs, at most P.

    Returns:
        The anchors and their neighbours, (N, count, D) each, by growing place of the anchor.

    >>> anchors, candidates = torch.tensor([[[0.0], [5.0]]]), torch.tensor([[[5.5], [2.0]]])
    >>> nearest_pairs(anchors, candidates, 1)
    (tensor([[[5.]]]), tensor([[[5.5000]]]))
    """
    with torch.no_grad():
        distances, neighbours = torch.cdist(to_float32(anchors), to_float32(candidates)).min(2)
        kept = distances.topk(min(count, anchors.shape[1]), largest=False).indices.sort().values
        found = neighbours.gather(1, kept)
    width = anchors.shape[2]
    return (
        anchors.gather(1, kept[..., None].expand(-1, -1, width)),
        candidates.gather(1, found[..., None].expand(-1, -1, width)),
    )


class VICRegL(VICRegLMixin, BaseMethod):
    """VICRegL on our own engine."""
