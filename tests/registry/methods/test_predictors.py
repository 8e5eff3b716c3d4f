"""BYOL, SimSiam, their variants with neighbours, ReSSL, All4One and the whitening ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig

from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.methods.ressl import relational_loss

Tiny = Callable[..., DictConfig]


def logged(model: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    model.log = lambda name, value, **_: seen.update({name: value})
    return seen


def test_byol_predicts_each_large_crop_from_all_others(tiny: Tiny, build: Any, batch: Any) -> None:
    crops = [{"crop_size": 8, "num_crops": 2}, {"crop_size": 6, "num_crops": 1}]
    model = build(tiny("byol", augmentations=crops))
    seen = logged(model)
    indexes, large, targets = batch()
    views = [*large, batch(views=1, size=6)[1][0]]
    loss = model.training_step((indexes, views, targets), 0)
    predictions = [model(view)["p"] for view in views]
    wanted = [model.momentum_forward(view)["z"] for view in large]
    expected = sum(
        2 - 2 * F.cosine_similarity(p, z).mean()
        for i, z in enumerate(wanted)
        for j, p in enumerate(predictions)
        if i != j
    )
    torch.testing.assert_close(seen["train_byol_loss"], expected)
    loss.backward()
    assert all(p.grad is None for p in model.momentum_backbone.parameters())


@pytest.mark.parametrize("name", ["simsiam", "nnsiam"], ids=str)
def test_simsiams_predictor_keeps_its_learning_rate(tiny: Tiny, build: Any, name: str) -> None:
    groups = {group["name"]: group for group in build(tiny(name)).learnable_params}
    assert groups["predictor"]["static_lr"] is True
    assert "static_lr" not in groups["projector"]


@pytest.mark.parametrize("name", ["nnbyol", "nnsiam"], ids=str)
def test_targets_are_neighbours_in_the_queue(tiny: Tiny, build: Any, name: str) -> None:
    model = build(tiny(name, "optimizer.batch_size=8", "method_kwargs.queue_size=32"))
    before = model.queue.keys[0].T.clone()
    views = [torch.randn(8, 8) for _ in range(2)]
    for z, found in zip(views, model.targets(views), strict=True):
        nearest = before[(F.normalize(z, dim=1) @ before.T).argmax(1)]
        assert torch.equal(found, nearest)
    torch.testing.assert_close(model.queue.keys[0].T[:8], F.normalize(views[0], dim=1))


def test_ressl_is_least_where_the_relations_agree() -> None:
    torch.manual_seed(0)
    queue = F.normalize(torch.randn(8, 30), dim=0)
    key, query = torch.randn(5, 8), torch.randn(5, 8)
    entropy = torch.distributions.Categorical(logits=F.normalize(key, dim=1) @ queue / 0.1)
    least = relational_loss(key, key, queue, 0.1, 0.1)
    torch.testing.assert_close(least, entropy.entropy().mean())
    assert relational_loss(query, key, queue, 0.1, 0.1) > least


def test_a_key_of_solo_learns_yaml_that_nothing_reads_is_dropped(tiny: Tiny) -> None:
    with pytest.warns(UserWarning, match="momentum_classifier is not used by method 'ressl'"):
        cfg = resolve(tiny("ressl", "method_kwargs.momentum_classifier=false"))
    assert "momentum_classifier" not in cfg.method_kwargs


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("wmse", "whitening_size=100", "must divide optimizer.batch_size, 128"),
        ("wmse", "whitening_size=8", "at least twice method_kwargs.proj_output_dim, 16"),
        ("wmse", "whitening_eps=-0.1", r"whitening_eps must be in \[0, 1\]"),
        ("all4one", "proj_output_dim=12", "must be a multiple of 8, got 12"),
        ("vicreg", "cov_loss_weight=-1.0", "cov_loss_weight must be 0 or more"),
        ("nnbyol", "queue_size=100", "must be divisible by the batch of 128"),
        ("barlow_twins", "lambda=1.0", "no method_kwargs.lambda. Did you mean 'lamb'"),
    ],
)
def test_what_cannot_work_is_refused(tiny: Tiny, name: str, word: str, message: str) -> None:
    small = ["method_kwargs.whitening_size=64"] if name == "wmse" else []
    with pytest.raises(UserError, match=message):
        resolve(tiny(name, *small, f"method_kwargs.{word}"))


def test_one_view_alone_is_refused(tiny: Tiny) -> None:
    one = [{"crop_size": 8, "num_crops": 1}]
    for method in ("simclr", "byol"):
        with pytest.raises(UserError, match="compares at least 2 crops, got 1"):
            resolve(tiny(method, augmentations=one))
