"""MAE (He et al. 2022, arXiv 2111.06377)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from lightly.models.utils import (
    get_at_index,
    initialize_2d_sine_cosine_positional_embedding,
    normalize_mean_var,
    patchify,
    random_token_mask,
)
from omegaconf import DictConfig
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from solo_registry.catalog.kwargs import WIDTH, Kwarg
from solo_registry.errors import UserError
from solo_registry.methods.base import BaseMethod, Batch
from solo_registry.methods.parts.masking import KeepPatches, PixelDecoder
from solo_registry.methods.parts.method import MethodMixin


class MAEMixin(MethodMixin):
    """MAE over any base class with a vision transformer of timm; one or more large crops.

    The method replaces the backbone's position embedding by the fixed sine-cosine one. In training
    the features, also those of the online classifier, come from the visible patches.
    """

    KWARGS: ClassVar[dict[str, Any]] = {
        "decoder_embed_dim": Kwarg(
            512, "Width of the decoder, a multiple of 4 and of its heads.", **WIDTH
        ),
        "decoder_depth": Kwarg(8, "Number of the decoder's blocks.", above=0, most=256),
        "decoder_num_heads": Kwarg(16, "Attention heads of each of the decoder's blocks.", above=0),
        "mask_ratio": Kwarg(0.75, "Share of the patches that are hidden.", above=0, below=1),
        "norm_pix_loss": Kwarg(
            False, "Whether the pixels of each patch are standardised before they are predicted."
        ),
    }

    ONE_IMAGE: ClassVar[bool] = True
    HEADS: ClassVar[tuple[str, ...]] = ("decoder",)
    TWO_VIEWS: ClassVar[bool] = False
    LEAST_VIEWS: ClassVar[int] = 1
    TRANSFORMER: ClassVar[bool] = True
    MULTICROP: ClassVar[bool] = False
    PER_PROCESS: ClassVar[str] = "each process draws its own masks"

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        vit, kwargs = self.backbone, cfg.method_kwargs
        if not isinstance(vit, VisionTransformer) or vit.pos_embed is None or vit.no_embed_class:
            raise UserError(
                f"method 'mae' hides patches and needs a vision transformer, such as "
                f"backbone=vit_tiny; backbone '{cfg.backbone.name}' is none"
            )
        self.prefix, self.patches = vit.num_prefix_tokens, vit.patch_embed.num_patches
        self.patch_size = vit.patch_embed.patch_size[0]
        pixels = self.patch_size**2 * vit.patch_embed.proj.in_channels
        if kwargs.norm_pix_loss and pixels == 1:
            raise UserError(
                "method_kwargs.norm_pix_loss standardises each patch, but here a patch is a single "
                "number: set it to false, or backbone.kwargs.patch_size=2"
            )
        vit.patch_drop = KeepPatches(self.prefix)  # type: ignore[assignment]
        initialize_2d_sine_cosine_positional_embedding(vit.pos_embed, num_prefix_tokens=self.prefix)
        self.decoder = PixelDecoder(
            self.features_dim,
            kwargs.decoder_embed_dim,
            depth=kwargs.decoder_depth,
            heads=kwargs.decoder_num_heads,
            prefix=self.prefix,
            patches=self.patches,
            pixels=pixels,
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check the decoder's width."""
        cfg = super().add_and_assert_specific_cfg(cfg)
        kwargs = cfg.method_kwargs
        width, heads = kwargs.decoder_embed_dim, kwargs.decoder_num_heads
        if width % heads or width % 4:
            raise UserError(
                f"method_kwargs.decoder_embed_dim, {width}, must be divisible by 4 and by "
                f"method_kwargs.decoder_num_heads, {heads}"
            )
        return cfg

    def project(self, feats: Tensor) -> dict[str, Any]:
        """Return nothing: there is no projector."""
        return {}

    def forward(self, X: Tensor) -> dict[str, Any]:
        """In training, adds the predictions `pred` (N, L, P) of the patches `hidden` (N, L)."""
        if not self.training:
            return super().forward(X)
        vit: Any = self.backbone
        seen, hidden = random_token_mask(
            (len(X), self.patches),
            self.cfg.method_kwargs.mask_ratio,
            mask_class_token=True,  # these are patches only
            device=X.device,
        )
        vit.patch_drop.chosen = seen
        try:
            tokens = vit.forward_features(X)
        finally:
            vit.patch_drop.chosen = None
        feats = vit.forward_head(tokens)
        pred = get_at_index(self.decoder(tokens, seen), hidden)
        logits = self.classifier(feats.detach())
        return {"logits": logits, "feats": feats, "pred": pred, "hidden": hidden}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the squared error of the hidden patches' pixels."""
        out = super().training_step(batch, batch_idx)
        losses = []
        for view, pred, hidden in zip(batch[1], out["pred"], out["hidden"], strict=True):
            wanted = patchify(view, self.patch_size)
            if self.cfg.method_kwargs.norm_pix_loss:
                wanted = normalize_mean_var(wanted)
            losses.append(F.mse_loss(pred, get_at_index(wanted, hidden)))
        return self.total(out, torch.stack(losses).mean(), "mae")


class MAE(MAEMixin, BaseMethod):
    """MAE on our own engine."""
