"""Methods that assign views to prototypes: SwAV, DeepCluster v2, DINO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.config import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.methods.parts.clusters import ClusterBank
from solo_registry.training.model import build_method

Tiny = Callable[..., DictConfig]
QUICK = ("optimizer.batch_size=16", "data.fraction=0.06", "max_epochs=2")


def test_swav_codes_are_balanced_and_prototypes_length_does_not_count(
    tiny: Tiny, build: Any, batch: Any
) -> None:
    model = build(tiny("swav", "method_kwargs.queue_size=0"))
    assert model.queue is None
    losses = [model.training_step(batch(), 0) for _ in range(2)]
    with torch.no_grad():
        model.prototypes.weight *= 7
    assert model.training_step(batch(), 0).item() == pytest.approx(losses[1].item(), rel=1e-5)


def test_swav_uses_its_queue_from_its_epoch_on(tiny: Tiny, build: Any) -> None:
    late, now = (build(tiny("swav", f"method_kwargs.epoch_queue_starts={n}")) for n in (1, 0))
    assert late.queued() is None
    assert [rows.shape for rows in now.queued()] == [(256, 10), (256, 10)]


def test_prototypes_rest_first_and_move_then(tiny: Tiny, train: Any) -> None:
    for method, words, name in (
        ("swav", "freeze_prototypes_epochs", "prototypes.weight"),
        ("dino", "freeze_last_layer", "projector.prototypes.weight"),
    ):
        for epochs, moves in ((2, False), (1, True)):
            cfg = resolve(tiny(method, *QUICK, f"method_kwargs.{words}={epochs}"))
            model = build_method(cfg, build_data(cfg))
            before = model.state_dict()[name].clone()
            train(model, cfg, -1)
            assert torch.equal(before, model.state_dict()[name]) is not moves


def test_dino_teacher_is_centred_and_its_gradients_clipped(
    tiny: Tiny, build: Any, batch: Any
) -> None:
    model = build(tiny("dino", "method_kwargs.clip_grad=0.001", "method_kwargs.num_prototypes=5"))
    out = model.momentum_forward(batch()[1][0])["z"]
    other = model.momentum_forward(batch()[1][1])["z"]
    model.training_step(batch(), 0).backward()
    centre = 0.1 * torch.cat([out, other]).mean(0)
    torch.testing.assert_close(model.criterion.center.flatten(), centre)
    model.on_after_backward()
    norms = [parameter.grad.norm() for parameter in model.backbone.parameters()]
    assert max(norms) <= 0.001 + 1e-7


def test_dino_prototypes_are_of_length_1_unless_asked(tiny: Tiny, build: Any) -> None:
    fixed, free = (build(tiny("dino", f"method_kwargs.norm_last_layer={f}")) for f in (True, False))
    feats = torch.randn(6, fixed.features_dim)
    assert fixed.projector(feats).abs().max() <= 1 + 1e-6
    assert not fixed.projector.lengths.requires_grad and free.projector.lengths.requires_grad


def test_deepcluster_begins_with_a_pass_and_divides_each_epoch(tiny: Tiny, train: Any) -> None:
    cfg = resolve(tiny("deepclusterv2", *QUICK, "method_kwargs.num_prototypes=[4,3]"))
    model = build_method(cfg, build_data(cfg))
    losses = train(model, cfg, 1)  # stops in the first epoch
    assert losses[0] > 0
    bank = model.clusters.bank
    seen = bank[0].any(1)
    assert int(seen.sum()) == len(seen) // 16 * 16  # all full batches of the pass
    for count, (prototypes, found) in zip((4, 3), model.clusters.heads(), strict=True):
        assert prototypes.shape == (count, 8)
        assert (found[~seen] == -1).all() and found[seen].unique().numel() > 1
        torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(count))


def test_a_division_is_the_nearest_centroid_and_follows_from_the_seed() -> None:
    banks = [ClusterBank(50, 4, [5], views=1) for _ in range(2)]
    rows = torch.nn.functional.normalize(torch.randn(50, 4), dim=1)
    for bank in banks:
        bank.bank[0] = rows
        bank.divide(10, seed=3)
    (prototypes, found), (again, same) = (next(iter(bank.heads())) for bank in banks)
    assert torch.equal(prototypes, again) and torch.equal(found, same)
    assert torch.equal(found, (rows @ prototypes.T).argmax(1))


def test_impossible_numbers_of_clusters_are_refused(tiny: Tiny, build: Any) -> None:
    with pytest.raises(UserError, match="asks for 2000 clusters, more than the 1437"):
        build(tiny("deepclusterv2", "method_kwargs.num_prototypes=[3,2000]"))
    with pytest.raises(UserError, match="must be a list of counts, got 5"):
        resolve(tiny("deepclusterv2", "method_kwargs.num_prototypes=5"))
    model = build(tiny("deepclusterv2", "method_kwargs.num_prototypes=null"))
    assert model.clusters.counts == [143, 143, 143]
