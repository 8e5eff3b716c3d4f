"""VICRegL (Bardes et al. 2022, arXiv 2210.01571): VICReg on pooled and on local features."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from lightly.models.modules.heads import VicRegLLocalProjectionHead
from omegaconf import DictConfig
from torch import Tensor

from solo_registry.catalog.kwargs import COUNT, WIDTH, Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import to_float32
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.vicreg import VICRegMixin


class VICRegLMixin(VICRegMixin):
    """VICReg's step, and the same loss on two kinds of pairs of local features.

    The pairs of one kind are nearest in feature space, those of the other in the image. It needs a
    backbone with a feature map (all of timm's) and exactly two views, as the paper's ResNet.
    Variance and covariance are means over the views, as in the authors' code; VICReg's are sums.

    Where paper and code differ, this is the paper: 20 pairs of either kind and in both directions
    (the code keeps all pairs that are nearest in feature space, and of the others 20 in one
    direction and 4 in the other), and places in the image know of a flip (in the code, by default,
    they do not).
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
        "location_matches": Kwarg(  # not 20: a config of before this key had none
            0,
            "Pairs of local features that are nearest in the image, likewise; 0 is none.",
            least=0,
            most=COUNT["most"],
        ),
    }
    VARIANCE_FACTOR: ClassVar[float] = 1.0
    COVARIANCE_FACTOR: ClassVar[float] = 0.5
    HEADS: ClassVar[tuple[str, ...]] = ("projector", "local_projector")
    NEEDS_CROPS: ClassVar[bool] = True

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
            local = self.local_features(backbone.eval().forward_features(black))
        backbone.train()
        _, places, width = local.shape
        self.side = math.isqrt(places)
        if self.side**2 != places and cfg.method_kwargs.location_matches:
            raise UserError(
                f"method '{cfg.method}' needs a square feature map, and that of "
                f"'{cfg.backbone.name}' has {places} places: give "
                "method_kwargs.location_matches=0, or another backbone"
            )
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

    def local_loss(self, local: list[Tensor], distances: Tensor, count: int) -> Tensor:
        """Return VICReg's loss of the nearest pairs of local features, the mean of both ways.

        Args:
            local: (N, P, D') of each of the two views.
            distances: (N, P, P) from the first view's to the second's, without a gradient.
            count: number of pairs.
        """
        one, two = local
        pairs = (
            nearest_pairs(one, two, distances, count),
            nearest_pairs(two, one, distances.mT, count),
        )
        return torch.stack([self.regularised_loss(*pair) for pair in pairs]).mean()

    def views_loss(self, out: dict[str, Any], batch: Batch) -> Tensor:
        """Return `alpha` of the pooled features' loss plus 1 - `alpha` of the local features'."""
        kwargs, local = self.cfg.method_kwargs, out["local"]
        with torch.no_grad():
            distances = torch.cdist(to_float32(local[0]), to_float32(local[1]))
        loss = self.local_loss(local, distances, kwargs.num_matches)
        if kwargs.location_matches:
            one, two = (centres(crops, self.side) for crops in crops_in(batch).unbind(1))
            distances = torch.cdist(one, two, compute_mode="donot_use_mm_for_euclid_dist")
            loss = loss + self.local_loss(local, distances, kwargs.location_matches)
        alpha: float = kwargs.alpha
        return alpha * super().views_loss(out, batch) + (1 - alpha) * loss


def crops_in(batch: Batch) -> Tensor:
    """Return the fourth item of a batch, the crops of its views.

    Raises:
        ValueError: it has none.
    """
    more: list[Any] = list(batch)[3:]
    if not more:
        raise ValueError(
            "the batch has no crops (N, V, 5), which tell where each view lies in its image: load "
            "it by PretrainDataModule, or set method_kwargs.location_matches=0"
        )
    crops: Tensor = more[0]
    return crops


def centres(crops: Tensor, side: int) -> Tensor:
    """Return where the centre of each place of a feature map lies in its image.

    Args:
        crops: (N, 5) top, left, height and width in pixels, and whether the view is flipped.
        side: height and width of the map.

    Returns:
        (N, side^2, 2) distances from the image's top and left edge, row by row, in pixels.

    >>> centres(torch.tensor([[10, 0, 4, 8, 1]]), 2)
    tensor([[[11.,  6.],
             [11.,  2.],
             [13.,  6.],
             [13.,  2.]]])
    """
    top, left, height, width, flipped = (each[:, None] for each in crops.float().unbind(1))
    shares = ((torch.arange(side, device=crops.device) + 0.5) / side).expand(len(crops), side)
    rows = top + height * shares
    columns = left + width * torch.where(flipped > 0, 1 - shares, shares)
    grid = rows[:, :, None].expand(-1, -1, side), columns[:, None, :].expand(-1, side, -1)
    return torch.stack(grid, dim=-1).flatten(1, 2)


def nearest_pairs(
    anchors: Tensor, candidates: Tensor, distances: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Pair each anchor with its nearest candidate, and keep the `count` closest pairs.

    Pairs keep the order of their anchors, because variance and covariance are over the images of a
    batch at one place, as in the authors' code.

    Args:
        anchors: (N, P, D).
        candidates: (N, Q, D) of the same images.
        distances: (N, P, Q) of each anchor and candidate, without a gradient.
        count: number of pairs, at most P.

    Returns:
        The anchors and their neighbours, (N, count, D) each, by growing place of the anchor.

    >>> anchors, candidates = torch.tensor([[[0.0], [5.0]]]), torch.tensor([[[5.5], [2.0]]])
    >>> nearest_pairs(anchors, candidates, torch.cdist(anchors, candidates), 1)
    (tensor([[[5.]]]), tensor([[[5.5000]]]))
    """
    closest, neighbours = distances.min(2)
    kept = closest.topk(min(count, anchors.shape[1]), largest=False).indices.sort().values
    found = neighbours.gather(1, kept)
    width = anchors.shape[2]
    return (
        anchors.gather(1, kept[..., None].expand(-1, -1, width)),
        candidates.gather(1, found[..., None].expand(-1, -1, width)),
    )


class VICRegL(VICRegLMixin, BaseMethod):
    """VICRegL on our own engine."""
