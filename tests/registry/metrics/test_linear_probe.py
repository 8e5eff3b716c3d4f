import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from solo_registry.metrics.linear_probe import (
    L2_GRID,
    PROTOCOL,
    describe_protocol,
    linear_probe,
)


@pytest.fixture(scope="module")
def digits():
    images, targets = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    feats = torch.tensor(images[order], dtype=torch.float32)
    classes = torch.tensor(targets[order])
    return feats[:1200], classes[:1200], feats[1200:], classes[1200:]


def test_beats_chance_by_far_and_converges(digits):
    result = linear_probe(*digits, num_classes=10)
    assert 93 < result.acc1 < 100
    assert result.acc5 is not None
    assert result.acc1 < result.acc5 <= 100
    assert result.converged
    assert result.l2 in L2_GRID
    assert result.protocol == PROTOCOL


def test_random_labels_give_chance():
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(3000, 8, generator=generator)
    targets = torch.randint(4, (3000,), generator=generator)
    result = linear_probe(feats[:1500], targets[:1500], feats[1500:], targets[1500:], num_classes=4)
    assert 20 < result.acc1 < 30
    assert result.acc5 is None


@pytest.mark.slow
def test_repeats_to_the_last_bit(digits):
    first = linear_probe(*digits, num_classes=10)
    feats, *rest = digits
    again = linear_probe(feats.clone(), *rest, num_classes=10)
    assert first == again and torch.equal(first.scores, again.scores)


def test_minimum_is_that_of_scikit_learn(digits):
    train, targets, test, test_targets = digits
    l2 = 0.01
    mean, spread = train.double().mean(0), train.double().std(0, correction=0)
    spread[spread == 0] = 1
    solver = LogisticRegression(C=1 / (l2 * len(train)), tol=1e-8, max_iter=5000)
    solver.fit(((train - mean) / spread).numpy(), targets.numpy())
    theirs = 100 * solver.score(((test - mean) / spread).numpy(), test_targets.numpy())
    ours = linear_probe(*digits, num_classes=10, l2=[l2])
    assert ours.acc1 == pytest.approx(theirs, abs=0.2)
    assert ours.l2 == l2
    assert ours.protocol == describe_protocol([l2])


def test_unaffected_by_scale_shift_and_constant_features(digits):
    train, targets, test, test_targets = digits
    plain = linear_probe(*digits, num_classes=10, l2=[0.01])

    def change(feats):
        scaled = feats.double() * torch.linspace(0.01, 100, feats.shape[1]) - 7
        return torch.cat([scaled, torch.full((len(feats), 1), 0.1)], dim=1)

    moved = linear_probe(
        change(train), targets, change(test), test_targets, num_classes=10, l2=[0.01]
    )
    assert moved.acc1 == pytest.approx(plain.acc1, abs=0.2)


def test_constant_feature_that_moves_at_test_time_is_ignored():
    feats = torch.tensor([[0.0], [1.0], [4.0], [5.0]])
    targets = torch.tensor([0, 0, 1, 1])
    train = torch.cat([feats, torch.full((4, 1), 0.1)], dim=1)
    test = torch.cat([feats, torch.full((4, 1), 1e6)], dim=1)
    assert linear_probe(train, targets, test, targets, num_classes=2).acc1 == 100.0


@pytest.mark.slow
def test_choice_of_weight_decay_sees_no_test_row(digits):
    train, targets, test, test_targets = digits
    chosen = linear_probe(*digits, num_classes=10).l2
    shuffled = test_targets[torch.randperm(len(test), generator=torch.Generator().manual_seed(0))]
    assert linear_probe(train, targets, -test, shuffled, num_classes=10).l2 == chosen


def test_more_dimensions_than_are_rotated(digits, monkeypatch):
    expected = linear_probe(*digits, num_classes=10, l2=[0.01])
    monkeypatch.setattr("solo_registry.metrics.linear_probe._MAX_ROTATED_DIM", 8)
    result = linear_probe(*digits, num_classes=10, l2=[0.01])
    assert result.converged
    assert result.acc1 == pytest.approx(expected.acc1, abs=0.2)


@pytest.mark.parametrize("feats", [torch.zeros(40, 3), torch.full((40, 3), 0.1)])
def test_collapsed_features_give_the_largest_class(feats):
    targets = torch.tensor([0] * 30 + [1] * 10)
    assert linear_probe(feats, targets, feats, targets, num_classes=2).acc1 == 75.0


def test_unlabelled_rows_missing_classes_and_few_rows():
    feats = torch.tensor([[0.0], [1.0], [9.0], [10.0]])
    targets = torch.tensor([0, -1, 6, 6])
    result = linear_probe(feats, targets, feats, targets, num_classes=8)
    assert result.acc1 == 100.0
    assert result.l2 == L2_GRID[0]
    for which in ("train", "test"):
        labels = {"train": targets, "test": targets, which: torch.full((4,), -1)}
        with pytest.raises(ValueError, match="no labelled row among 4"):
            linear_probe(feats, labels["train"], feats, labels["test"], num_classes=8)


def test_works_on_features_made_in_inference_mode(digits):
    expected = linear_probe(*digits, num_classes=10, l2=[0.01])
    with torch.inference_mode():
        made = [part.clone() for part in digits]
        inside = linear_probe(*made, num_classes=10, l2=[0.01])
    assert linear_probe(*made, num_classes=10, l2=[0.01]) == inside == expected


@pytest.mark.parametrize("l2", [[], [0.0], [0.1, float("inf")], [-1.0]])
def test_bad_weight_decay_is_named(digits, l2):
    with pytest.raises(ValueError, match="l2 must hold positive"):
        linear_probe(*digits, num_classes=10, l2=l2)


def test_other_dimension_is_named(digits):
    train, targets, test, test_targets = digits
    with pytest.raises(ValueError, match="64 and 63"):
        linear_probe(train, targets, test[:, 1:], test_targets, num_classes=10)
