from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightly.models.utils import get_at_index, patchify

from solo_registry.errors import UserError

Make = Callable[..., Any]


@pytest.fixture
def mae(small_of: Any, build: Any) -> Make:
    """Return a builder of small models: mae("seed=3")."""
    return lambda *words, **extra: build(small_of("mae")("vit", *words, **extra))


def test_the_backbone_sees_only_the_visible_patches(mae: Make) -> None:
    model = mae("method_kwargs.mask_ratio=0.75")
    images = torch.randn(3, 1, 8, 8)
    torch.manual_seed(0)
    out = model(images)
    assert out["hidden"].shape == (3, 12) and out["pred"].shape == (3, 12, 4)
    hidden = torch.zeros(3, 16, dtype=torch.bool).scatter_(1, out["hidden"], True)
    pixels = hidden.view(3, 1, 4, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    noise = torch.randn_like(images)
    torch.manual_seed(0)
    other = model(torch.where(pixels, noise, images))
    torch.testing.assert_close(other["feats"], out["feats"])
    torch.manual_seed(0)
    changed = model(torch.where(pixels, images, noise))
    assert not torch.allclose(changed["feats"], out["feats"])
    model.eval()
    assert "pred" not in model(images)  # evaluation sees all of the image
    assert model.backbone.patch_drop.chosen is None


@pytest.mark.parametrize("standardised", [False, True])
def test_the_loss_is_the_hidden_patches_error(mae: Make, batch: Any, standardised: bool) -> None:
    model = mae(f"method_kwargs.norm_pix_loss={standardised}")
    indexes, views, targets = batch()
    torch.manual_seed(1)
    outs = [model(view) for view in views]
    wanted = [patchify(view, 2) for view in views]
    if standardised:
        wanted = [(w - w.mean(-1, keepdim=True)) / (w.std(-1, keepdim=True) + 1e-6) for w in wanted]
    errors = [
        (out["pred"] - get_at_index(w, out["hidden"])).square().mean()
        for out, w in zip(outs, wanted, strict=True)
    ]
    seen: dict[str, torch.Tensor] = {}
    model.log = lambda name, value, **_: seen.update({name: value})
    torch.manual_seed(1)
    model.training_step((indexes, views, targets), 0)
    torch.testing.assert_close(seen["train_mae_loss"], sum(errors) / 2, rtol=1e-4, atol=1e-5)


def test_one_view_is_enough(mae: Make, batch: Any) -> None:
    model = mae(augmentations=[{"crop_size": 8, "num_crops": 1}])
    assert model.training_step(batch(views=1), 0).isfinite()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("backbone.name=resnet18_narrow",),
            "vision transformer, such as backbone=vit_tiny; .*resnet18",
        ),
        (("method_kwargs.mask_ratio=1.0",), "mask_ratio must be in \\(0, 1\\), got 1.0"),
        (("method_kwargs.decoder_num_heads=3",), "decoder_embed_dim, 16, must be divisible by 4"),
        (("backbone.kwargs.patch_size=1", "method_kwargs.norm_pix_loss=true"), "single number"),
    ],
)
def test_what_cannot_work_is_refused(
    small_of: Any, build: Any, words: tuple[str, ...], message: str
) -> None:
    cfg = small_of("mae")("resnet" if "resnet18" in words[0] else "vit")
    cfg.merge_with_dotlist(list(words))
    with pytest.raises(UserError, match=message):
        build(cfg)
