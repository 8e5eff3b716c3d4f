from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.metrics.mechanism import Mechanism
from solo_registry.metrics.pair_mask import ComparedPairs, PairMask, pair_gradient
from solo_registry.plots.mechanism import mechanism_picture, trajectory_picture
from solo_registry.runs.model import build_method

N, D = 12, 8
METHODS = ["simclr", "dcl", "supcon", "mocov3", "nnclr"]
TEMPERATURES = ["cosine", "dual_constant", "shuffled", "macl", "learnable"]


def half(s):
    return torch.full_like(s, 0.5)


def method(tiny, name, *words):
    cfg = resolve(tiny(name, *words))
    return build_method(cfg, build_data(cfg))


def rows(count, seed):
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed)).double()


def compared(model, name):
    """Embeddings as leaves, the method's own loss of them, and the pairs that it compares."""
    indexes, targets = torch.arange(N), torch.arange(N) % 3
    if name.startswith(("mocov3", "nnclr")):
        first, second = rows(N, 0).requires_grad_(), rows(N, 1).requires_grad_()
        loss = model.contrastive_loss(first, second, indexes)
        return (first, second), loss, ComparedPairs.paired(first, second)
    z = rows(2 * N, 0).requires_grad_()
    outs = {"z": list(z.chunk(2))}
    batch = (indexes, [], targets)
    return (
        (z,),
        model.contrastive_loss(z, model.groups(batch).repeat(2)),
        model.compared_pairs(outs, batch),
    )


def check_gradient(model, name, detach):
    """The loss's gradient by the embeddings must be that of sum(dL/ds s), up to a factor."""
    leaves, loss, pairs = compared(model, name)
    expected = torch.autograd.grad(loss, leaves)
    indexes = torch.arange(N)
    gradient = pair_gradient(
        pairs.similarities(),
        pairs.mask,
        lambda s: model.pair_temperature(s, pairs.mask, indexes),
        detach=detach,
    )
    s = F.normalize(pairs.anchors, dim=1) @ F.normalize(pairs.candidates, dim=1).T
    found = torch.autograd.grad((gradient * s).sum(), leaves)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one / one.norm(), other / other.norm(), rtol=1e-6, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_gradient_by_similarity_is_that_of_the_methods_own_loss(tiny, name):
    check_gradient(method(tiny, name), name, detach=True)
    for detach in (True, False):
        word = f"method_kwargs.detach_temperature={str(detach).lower()}"
        model = method(tiny, f"{name}_dyntemp", word)
        check_gradient(model, name, detach)
    # and the two kinds differ, so that the check above can fail
    with pytest.raises(AssertionError):
        check_gradient(model, name, not detach)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_temperatures_that_look_at_the_whole_batch(tiny, temperature):
    words = [f"method_kwargs.temperature={temperature}"]
    model = method(tiny, "simclr_dyntemp", *words)
    if temperature == "macl":  # weighs whole anchors, which pair_gradient leaves out
        _, _, pairs = compared(model, "simclr")
        s = pairs.similarities()
        tau = model.pair_temperature(s, pairs.mask, torch.arange(N))
        expected = 0.1 * (1 + 0.5 * float(s[pairs.mask.positive].mean()))
        assert tau.unique().tolist() == pytest.approx([expected], rel=1e-5)
    else:
        check_gradient(model, "simclr", detach=True)


def test_asking_for_temperatures_changes_no_state(tiny):
    model = method(tiny, "simclr_dyntemp", "method_kwargs.temperature=isogclr")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    _, _, pairs = compared(model, "simclr")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mechanism = Mechanism(10)
    mechanism.add(
        pairs,
        torch.zeros(N, dtype=torch.long),
        lambda s: model.pair_temperature(s, pairs.mask, torch.arange(N)),
    )
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_case_computed_by_hand():
    # images 0 and 1 of one class, image 2 of another; views equal, images orthogonal
    z = torch.eye(3).repeat(2, 1)
    pairs = ComparedPairs.among_views(z, torch.arange(3).repeat(2))
    mechanism = Mechanism(4)
    mechanism.add(pairs, torch.tensor([0, 0, 1]), half)
    table = pd.DataFrame(mechanism.rows()).set_index(["population", "s_low"])
    # 6 anchors: 1 positive at s=1, 4 negatives at s=0; P(negative) = 1 / (e^2 + 4)
    p = 1 / (math.exp(2) + 4)
    assert set(table.index) == {
        ("true_positive", 0.5), ("false_negative", 0.0), ("true_negative", 0.0)
    }  # fmt: skip
    assert table["pairs"].to_dict() == {
        ("true_positive", 0.5): 6, ("false_negative", 0.0): 8, ("true_negative", 0.0): 16
    }  # fmt: skip
    false = table.loc[("false_negative", 0.0)]
    assert false["probability"] == pytest.approx(8 / 6 * p)
    assert false["gradient_detached"] == pytest.approx(8 / 6 * p / 0.5)
    positive = table.loc[("true_positive", 0.5)]
    assert positive["gradient_flow"] == pytest.approx(4 * p / 0.5)
    found = mechanism.summary()
    assert found["emd_true_positive_false_negative"] == pytest.approx(1)
    assert found["emd_false_negative_true_negative"] == pytest.approx(0)
    assert found["false_negative_share_pairs"] == pytest.approx(1 / 3)
    assert found["false_negative_share_gradient_detached"] == pytest.approx(1 / 3)
    assert found["effective_negatives"] == pytest.approx(4) == found["negatives"]
    assert found["tau_positive_mean"] == found["tau_negative_max"] == 0.5
    assert found["reversed_flow"] == 0


def test_one_near_negative_is_the_only_one_that_counts():
    anchors, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    candidates = torch.cat([anchors, anchors, far.expand(8, 2)])
    positive = torch.zeros(1, 10, dtype=torch.bool)
    positive[0, 0] = True
    mechanism = Mechanism(2)
    pairs = ComparedPairs(anchors, candidates, PairMask(positive))
    mechanism.add(pairs, torch.zeros(1, dtype=torch.long), lambda s: torch.full_like(s, 0.1))
    assert mechanism.summary()["effective_negatives"] == pytest.approx(1, abs=1e-4)
    assert mechanism.summary()["negatives"] == 9


def test_a_steep_temperature_reverses_the_flow_gradient_of_some_negatives(tiny):
    wide = ["method_kwargs.tau_min=0.05", "method_kwargs.tau_max=1.0"]
    with pytest.warns(UserWarning, match="not monotone"):
        model = method(tiny, "simclr_dyntemp", *wide)
    found = {}
    for name, other in (("wide", model), ("narrow", method(tiny, "simclr_dyntemp"))):
        _, _, pairs = compared(other, "simclr")
        mechanism = Mechanism(10)
        mechanism.add(
            pairs,
            torch.zeros(N, dtype=torch.long),
            lambda s, m=other, mask=pairs.mask: m.pair_temperature(s, mask, torch.arange(N)),
        )
        found[name] = mechanism.summary()["reversed_flow"]
    assert found["wide"] > 0 == found["narrow"]


def test_without_labels_or_temperature_the_similarities_remain(tmp_path):
    pairs = ComparedPairs.paired(rows(N, 0), rows(N, 1))
    mechanism = Mechanism(10)
    mechanism.add(pairs, torch.full((N,), -1), lambda s: None)
    found = mechanism.summary()
    assert set(found) == {"s_true_positive", "s_unlabelled"}
    table = pd.DataFrame(mechanism.rows()).assign(epoch=0)
    assert "gradient_flow" not in table and table["pairs"].sum() == N * N
    assert mechanism_picture(table, tmp_path / "m.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="no curve"):
        trajectory_picture(pd.DataFrame({"epoch": [0], **found}), tmp_path / "t.png")
