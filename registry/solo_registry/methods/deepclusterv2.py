"""DeepCluster v2 (Caron et al. 2020, arXiv 2006.09882, appendix)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import SwaVProjectionHead
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from solo_registry.catalog.kwargs import COUNT, Kwarg
from solo_registry.errors import UserError
from solo_registry.losses import full_precision, gathered, normalize
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.clusters import ClusterBank
from solo_registry.methods.parts.kwargs import projector_widths, softmax_temperature
from solo_registry.methods.parts.method import MethodMixin


class DeepClusterV2Mixin(MethodMixin):
    """DeepCluster v2 over any base class; several views and multi-crop.

    Before the first epoch one pass over the images fills the bank of projections. (solo-learn has
    no such pass, and no clusters in its first epoch.) Before every epoch spherical k-means divides
    the bank, and the centroids become that epoch's prototypes.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        **projector_widths(2048, 128),
        "num_prototypes": Kwarg(
            None,
            "Numbers of clusters, one for each head; null is three heads of a tenth of the images, "
            "3,000 at most.",
            kind=list[int],
            **COUNT,
        ),
        **softmax_temperature(0.1),
        "kmeans_iters": Kwarg(10, "Iterations of k-means before each epoch.", above=0, most=1000),
    }

    TWO_VIEWS: ClassVar[bool] = False

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = cfg.method_kwargs
        dim, images = kwargs.proj_output_dim, OmegaConf.select(cfg, "data.train_images") or 1
        self.projector = SwaVProjectionHead(self.features_dim, kwargs.proj_hidden_dim, dim)
        self.clusters = ClusterBank(
            images, dim, cluster_counts(cfg, images), views=self.num_large_crops
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check the numbers of clusters."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        if cfg.method_kwargs.num_prototypes == []:
            raise UserError("method_kwargs.num_prototypes is empty: give a count for each head")
        return cfg

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return the normalised projections `z` (N, D)."""
        return {"z": normalize(self.projector(feats))}

    @torch.no_grad()
    def on_train_start(self) -> None:
        """Fill the bank by a pass over the images, unless a checkpoint filled it."""
        super().on_train_start()
        if self.clusters.bank.any():
            return
        precision = self.trainer.precision_plugin
        for batch in self.trainer.train_dataloader:  # type: ignore[union-attr]
            indexes, views, _ = batch
            views = precision.convert_input(views[: self.num_large_crops])
            with precision.forward_context():
                large = [self(view.to(self.device)) for view in views]
            self.remember(indexes.to(self.device), [out["z"] for out in large])

    def on_train_epoch_start(self) -> None:
        """Divide the bank into the clusters of this epoch."""
        super().on_train_epoch_start()
        self.clusters.divide(self.cfg.method_kwargs.kmeans_iters, seed=self.current_epoch)

    def remember(self, indexes: Tensor, views: list[Tensor]) -> None:
        """Put the projections (N, D) of each large crop of all processes into the bank."""
        rows = torch.stack([gathered(z.detach()) for z in views])
        self.clusters.bank[:, gathered(indexes)] = rows.to(self.clusters.bank.dtype)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: predict the cluster of its image from every crop."""
        out = super().training_step(batch, batch_idx)
        tau: float = self.cfg.method_kwargs.temperature
        z = torch.cat(out["z"])
        with full_precision(z):
            losses = [
                F.cross_entropy(
                    z @ prototypes.T.to(z.dtype) / tau,
                    assignments[batch[0]].repeat(self.num_crops),
                    ignore_index=-1,
                )
                for prototypes, assignments in self.clusters.heads()
            ]
        self.remember(batch[0], out["z"][: self.num_large_crops])
        return self.total(out, torch.stack(losses).mean(), "deepcluster")


def cluster_counts(cfg: DictConfig, images: int) -> list[int]:
    """Return the number of clusters of each head.

    Raises:
        UserError: there are more clusters than images.
    """
    counts = cfg.method_kwargs.num_prototypes or [max(1, min(3000, images // 10))] * 3
    if max(counts) > images:
        raise UserError(
            f"method_kwargs.num_prototypes asks for {max(counts)} clusters, more than the {images} "
            "training images"
        )
    return list(counts)


class DeepClusterV2(DeepClusterV2Mixin, BaseMethod):
    """DeepCluster v2 on our own engine."""
