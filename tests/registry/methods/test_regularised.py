"""What is particular to TiCo, MMCR, FroSSL, LeJEPA and VICRegL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import FroSSLLoss, LeJEPALoss
from omegaconf import DictConfig

from solo_registry.errors import UserError
from solo_registry.methods.vicregl import VICRegLMixin, nearest_pairs

Tiny = Callable[..., DictConfig]
PLACES = "method_kwargs.location_matches=2"


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ticos_covariance_moves_and_is_saved(tiny: Tiny, build: Any) -> None:
    model = build(tiny("tico"))
    z, target = rows(6, 8), rows(6, 8, seed=1)
    first = model.tico_loss(z, target)
    unit, other = F.normalize(z, dim=1), F.normalize(target, dim=1)
    covariance = 0.1 * sum(torch.outer(row, row) for row in unit) / 6
    losses = [
        1 - float(row @ goal) + 8 * float(row @ covariance @ row)
        for row, goal in zip(unit, other, strict=True)
    ]
    assert first.item() == pytest.approx(sum(losses) / 6, rel=1e-5)
    torch.testing.assert_close(model.covariance, covariance)
    again = model.tico_loss(z, target)
    torch.testing.assert_close(model.covariance, 1.9 * covariance)
    assert again > first  # the same directions once more
    assert torch.equal(model.state_dict()["covariance"], model.covariance)


def test_mmcr_tells_the_views_of_both_networks_apart(
    tiny: Tiny, build: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipelines = [{"crop_size": 16, "num_crops": 2}, {"crop_size": 8, "num_crops": 3}]
    model, seen = build(tiny("mmcr", augmentations=pipelines)), []
    monkeypatch.setattr(
        "solo_registry.methods.mmcr.mmcr", lambda *given: seen.append(given) or given[0].sum()
    )
    indexes, large, targets = batch(size=16)
    model.training_step((indexes, large + batch(views=3, size=8)[1], targets), 0)
    ((z, lmda, momentum),) = seen
    assert z.shape == (8, 2 + 3, 8) and momentum.shape == (8, 2, 8) and lmda == 0
    with torch.no_grad():
        torch.testing.assert_close(z[:, 1], model(large[1])["z"])
        torch.testing.assert_close(momentum[:, 0], model.momentum_forward(large[0])["z"])


def test_frossl_is_lightlys_and_bears_any_scale(tiny: Tiny, build: Any, batch: Any) -> None:
    model = build(tiny("frossl", "method_kwargs.invariance_weight=0.5"))
    _, images, targets = batch()
    z = [model(view)["z"] for view in images]
    expected = FroSSLLoss(0.5)(z)
    seen = {}
    model.total = lambda out, loss, name: seen.update({name: loss}) or loss
    model.training_step((targets, images, targets), 0)
    torch.testing.assert_close(seen["frossl"], expected)
    scaled = FroSSLLoss(0.5)([view * torch.arange(1, 9) for view in z])
    torch.testing.assert_close(scaled, expected)


def test_lejepas_directions_are_of_the_seed_and_the_step(tiny: Tiny, build: Any) -> None:
    model = build(tiny("lejepa", "method_kwargs.num_vectors=4"))
    z = rows(2, 16, 8)
    before = torch.get_rng_state()
    first = model.regularizer(z)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(model.regularizer(z), first)
    other = build(tiny("lejepa", "method_kwargs.num_vectors=4", "seed=6"))
    assert not torch.equal(other.regularizer(z), first)


def test_lejepa_with_small_crops_is_lightlys(tiny: Tiny, build: Any, batch: Any) -> None:
    pipelines = [{"crop_size": 16, "num_crops": 2}, {"crop_size": 8, "num_crops": 2}]
    model = build(tiny("lejepa", augmentations=pipelines))
    indexes, large, targets = batch(size=16)
    small = batch(size=8)[1]
    seen = {}
    model.total = lambda out, loss, name: seen.update({name: loss}) or loss
    model.training_step((indexes, large + small, targets), 0)
    theirs = LeJEPALoss(lambda_param=0.05)
    theirs.sigreg.forward = model.regularizer  # the same directions
    expected = theirs(
        global_proj=torch.stack([model(view)["z"] for view in large]),
        local_proj=torch.stack([model.multicrop_forward(view)["z"] for view in small]),
    )
    torch.testing.assert_close(seen["lejepa"], expected)


@pytest.mark.slow
def test_lejepas_regularizer_prefers_a_gaussian(tiny: Tiny, build: Any) -> None:
    model = build(tiny("lejepa"))
    gaussian = rows(1, 512, 8)
    narrow, collapsed = 0.3 * gaussian, torch.zeros(1, 512, 8)
    losses = [model.regularizer(z).item() for z in (gaussian, narrow, collapsed)]
    assert losses[0] < losses[1] < losses[2]


def test_vicregl_with_alpha_1_is_vicreg_of_other_weights(
    tiny: Tiny, build: Any, batch: Any
) -> None:
    """The authors' VICRegL takes means over the two views where their and our VICReg adds."""
    words = "method_kwargs.alpha=1", "method_kwargs.local_proj_dim=8"
    half = "method_kwargs.var_loss_weight=12.5", "method_kwargs.cov_loss_weight=0.5"
    local, plain = build(tiny("vicregl", *words)), build(tiny("vicreg", *half))
    missing = plain.load_state_dict(local.state_dict(), strict=False).missing_keys
    assert not missing
    losses = [model.training_step(batch(), 0) for model in (local, plain)]
    torch.testing.assert_close(*losses)


def vicregl_by_hand(views: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """25 x invariance + 25 x variance + covariance of two views (N, D), means over the views."""
    loss = 25 * (views[0] - views[1]).square().mean()
    for view in views:
        spread = (view.var(0) + 1e-4).sqrt()
        loss = loss + 25 / 2 * (1 - spread).clamp_min(0).mean()
        covariance = torch.cov(view.T)
        off = covariance.square().sum() - covariance.diagonal().square().sum()
        loss = loss + off / view.shape[1] / 2
    return loss


CROPS = torch.tensor([  # of six images: two views that overlap much, little and not, flipped too
    [[0, 0, 80, 83, 0], [12, 11, 86, 89, 0]], [[0, 0, 80, 81, 0], [5, 17, 92, 87, 1]],
    [[0, 0, 80, 79, 1], [60, 53, 84, 88, 1]], [[90, 31, 40, 63, 1], [0, 0, 51, 74, 0]],
    [[20, 29, 33, 31, 0], [0, 0, 910, 700, 1]], [[0, 59, 410, 300, 1], [500, 600, 301, 437, 0]],
])  # fmt: skip


def places_by_hand(crop: list[int], side: int) -> torch.Tensor:
    """The centers, cell by cell, of `side` x `side` equal cells of a crop, as its view shows it."""
    top, left, height, width, flipped = crop
    centers = []
    for row in range(side):
        for column in range(side):
            across = side - 1 - column if flipped else column
            down = top + (2 * row + 1) * height / (2 * side)
            centers.append((down, left + (2 * across + 1) * width / (2 * side)))
    return torch.tensor(centers)


def local_by_hand(local: list[torch.Tensor], points: list[torch.Tensor], count: int) -> Any:
    """The local loss of pairs that are nearest by their `points` (N, P, E), mean of both ways."""
    losses = []
    for a, b in ((0, 1), (1, 0)):
        distances, nearest = torch.cdist(points[a], points[b]).min(2)
        kept = torch.stack([row.argsort()[:count].sort().values for row in distances])
        image = torch.arange(len(kept))[:, None]
        pairs = local[a][image, kept], local[b][image, nearest.gather(1, kept)]
        losses += [vicregl_by_hand((pairs[0][:, p], pairs[1][:, p])) for p in range(count)]
    return torch.stack(losses).mean()


def test_vicregl_is_the_papers(tiny: Tiny, build: Any) -> None:
    words = "method_kwargs.local_proj_dim=8", "method_kwargs.num_matches=3"
    model = build(tiny("vicregl", *words, PLACES))
    model.side = 2
    z = [rows(6, 5, seed=seed).double().requires_grad_() for seed in (0, 1)]
    local = [0.1 * rows(6, 4, 8, seed=seed).double().requires_grad_() for seed in (2, 3)]
    places = [
        torch.stack([places_by_hand(crop.tolist(), 2) for crop in v]) for v in CROPS.unbind(1)
    ]
    near = local_by_hand(local, local, 3) + local_by_hand(local, places, 2)
    expected = 0.75 * vicregl_by_hand((z[0], z[1])) + 0.25 * near
    ours = model.views_loss({"z": z, "local": local}, (None, None, None, CROPS))
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(loss, [*z, *local]) for loss in (ours, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("count", [1, 3, 9])
def test_nearest_pairs_are_the_closest_of_all(count: int) -> None:
    anchors, candidates = rows(2, 5, 3), rows(2, 4, 3, seed=1)
    kept, found = nearest_pairs(anchors, candidates, torch.cdist(anchors, candidates), count)
    for image in range(2):
        pairs = []
        for place, anchor in enumerate(anchors[image]):
            near = min(candidates[image], key=lambda row, a=anchor: float((row - a).norm()))
            pairs.append((float((near - anchor).norm()), place, anchor, near))
        pairs = sorted(sorted(pairs)[:count], key=lambda pair: pair[1])
        assert len(kept[image]) == min(count, 5)
        for place in range(len(kept[image])):
            assert torch.equal(kept[image, place], pairs[place][2])
            assert torch.equal(found[image, place], pairs[place][3])


@pytest.mark.parametrize(
    ("backbone", "places"),
    [
        ({"name": "resnet18_narrow", "kwargs": {"channels": [8, 8, 16, 16]}}, 4),
        ({"name": "vit_tiny", "kwargs": {"depth": 1, "embed_dim": 12, "patch_size": 4}}, 16),
        ({"name": "swin_tiny", "kwargs": {"depths": [1, 1], "num_heads": [1, 1],
                                          "embed_dim": 8, "window_size": 2}}, 16),
    ],
)  # fmt: skip
def test_local_features_of_every_kind_of_map(
    tiny: Tiny, build: Any, backbone: dict[str, Any], places: int
) -> None:
    pipelines = [{"crop_size": 16, "num_crops": 2}]
    words = "method_kwargs.local_proj_dim=8"
    cfg = tiny("vicregl", words, augmentations=pipelines)
    cfg.update(backbone=backbone)
    model = build(cfg).eval()
    out = model(rows(3, 1, 16, 16))
    assert out["local"].shape == (3, places, 8)
    torch.testing.assert_close(out["feats"], model.backbone(rows(3, 1, 16, 16)))


def test_vicregl_needs_to_know_where_the_views_are(tiny: Tiny, build: Any, batch: Any) -> None:
    with pytest.raises(ValueError, match=r"no crops \(N, V, 5\).*location_matches=0"):
        build(tiny("vicregl", PLACES)).training_step(batch(), 0)


def test_vicregl_refuses_a_map_that_is_not_square(
    tiny: Tiny, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VICRegLMixin, "local_features", lambda *_: torch.zeros(1, 6, 4))
    with pytest.raises(UserError, match="has 6 places: give"):
        build(tiny("vicregl", PLACES))
    build(tiny("vicregl"))


def test_vicregl_refuses_a_backbone_without_a_map(tiny: Tiny, build: Any) -> None:
    cfg = tiny("vicregl")
    cfg.update(backbone={"name": "wide_resnet28w2"})
    with pytest.raises(UserError, match="'wide_resnet28w2' has none"):
        build(cfg)
