"""Methods that assign views to prototypes: SwAV, DeepCluster v2, DINO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.methods.parts.clusters import ClusterBank
from solo_registry.runs.model import build_method

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


@pytest.mark.slow
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


def test_dinos_teacher_is_centred(tiny: Tiny, build: Any, batch: Any) -> None:
    model = build(tiny("dino", "method_kwargs.num_prototypes=5"))
    out = model.momentum_forward(batch()[1][0])["z"]
    other = model.momentum_forward(batch()[1][1])["z"]
    model.training_step(batch(), 0).backward()
    centre = 0.1 * torch.cat([out, other]).mean(0)
    torch.testing.assert_close(model.criterion.center.flatten(), centre)


@pytest.fixture
def one_step(small_of: Any, batch: Any) -> Callable[..., dict[str, torch.Tensor]]:
    """Return a function that takes one optimizer step of DINO; it gives the backbone's moves."""

    def step(clip: float, batches: int = 1, **trainer: Any) -> dict[str, torch.Tensor]:
        words = f"method_kwargs.clip_grad={clip}", "method_kwargs.num_prototypes=5"
        cfg = resolve(small_of("dino")("vit", *words, "optimizer.name=sgd"))
        model = build_method(cfg, build_data(cfg))
        model.criterion.center_momentum = 1.0  # else each batch moves the next one's target
        model.configure_optimizers = lambda: torch.optim.SGD(model.parameters(), lr=1.0)
        before = {name: p.detach().clone() for name, p in model.backbone.named_parameters()}
        indexes, views, targets = batch(8)
        chunks = zip(*(part.chunk(batches) for part in (indexes, *views, targets)), strict=True)
        loader: Any = DataLoader([(i, list(v), t) for i, *v, t in chunks], batch_size=None)
        Trainer(
            max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
            accumulate_grad_batches=batches, **trainer,
        ).fit(model, loader, loader)  # fmt: skip
        return {name: p.detach() - before[name] for name, p in model.backbone.named_parameters()}

    return step


@pytest.mark.slow
def test_dino_clips_each_gradient_once_a_step(one_step: Any) -> None:
    free, clipped = one_step(clip=0), one_step(clip=0.01)
    assert sum(move.norm() > 0.02 for move in free.values()) > 3
    for name, move in free.items():
        bound = move * (0.01 / move.norm()).clamp(max=1)
        torch.testing.assert_close(clipped[name], bound, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(one_step(clip=0.01, batches=2), clipped, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_dino_clips_gradients_without_the_scale_of_16_bits(one_step: Any) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    moves = one_step(clip=0.01, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    for name, move in one_step(clip=0.01).items():
        torch.testing.assert_close(moves[name], move, rtol=0, atol=1e-3)


def test_dino_prototypes_are_of_length_1_unless_asked(tiny: Tiny, build: Any) -> None:
    fixed, free = (build(tiny("dino", f"method_kwargs.norm_last_layer={f}")) for f in (True, False))
    feats = torch.randn(6, fixed.features_dim)
    assert fixed.projector(feats).abs().max() <= 1 + 1e-6
    assert not fixed.projector.lengths.requires_grad and free.projector.lengths.requires_grad


@pytest.mark.slow
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
    with pytest.raises(UserError, match="must be of type integer list or null, got 5"):
        resolve(tiny("deepclusterv2", "method_kwargs.num_prototypes=5"))
    model = build(tiny("deepclusterv2", "method_kwargs.num_prototypes=null"))
    assert model.clusters.counts == [143, 143, 143]
