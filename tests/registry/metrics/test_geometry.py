import math
import time
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from solo_registry.metrics.geometry import (
    alignment,
    inter_class_uniformity,
    rankme,
    tolerance,
    uniformity,
)

N, D, C = 43, 9, 4


@pytest.fixture
def feats():
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0)) + 0.3


@pytest.fixture
def targets():
    return torch.randint(C, (N,), generator=torch.Generator().manual_seed(1))


def test_uniformity_equals_the_direct_formula(feats):
    unit = F.normalize(feats.double())
    potentials = [math.exp(-2 * float((x - y).square().sum())) for x, y in combinations(unit, 2)]
    expected = math.log(sum(potentials) / len(potentials))
    assert uniformity(feats) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("chunk_size", [1, 5, N - 1, N, 1000])
def test_chunk_size_does_not_change_the_answer(feats, chunk_size):
    assert uniformity(feats, chunk_size=chunk_size) == pytest.approx(uniformity(feats), abs=1e-7)
    assert rankme(feats, chunk_size=chunk_size) == pytest.approx(rankme(feats), rel=1e-12)


def test_uniformity_in_closed_form():
    assert uniformity(torch.eye(6)) == pytest.approx(-4.0, abs=1e-6)  # all distances are sqrt 2
    assert uniformity(torch.eye(6), t=1.0) == pytest.approx(-2.0, abs=1e-6)
    assert uniformity(torch.ones(6, 3)) == pytest.approx(0.0, abs=1e-6)
    antipodes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert uniformity(antipodes) == pytest.approx(-8.0, abs=1e-5)


def test_tolerance_equals_the_direct_formula(feats, targets):
    unit = F.normalize(feats.double())
    cosines = [
        float(unit[i] @ unit[j]) for i, j in combinations(range(N), 2) if targets[i] == targets[j]
    ]
    expected = sum(cosines) / len(cosines)
    assert tolerance(feats, targets) == pytest.approx(expected, abs=1e-7)


def test_tolerance_in_closed_form():
    assert tolerance(torch.eye(6), torch.zeros(6, dtype=torch.long)) == pytest.approx(0.0)
    assert tolerance(torch.ones(6, 3), torch.arange(6) // 2) == pytest.approx(1.0)
    antipodes = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert tolerance(antipodes, torch.tensor([7, 7])) == pytest.approx(-1.0)
    assert tolerance(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)) == 0.0


def test_alignment_equals_the_direct_formula(feats):
    other = feats + torch.randn(N, D, generator=torch.Generator().manual_seed(2))
    gaps = F.normalize(feats.double()) - F.normalize(other.double())
    assert alignment(feats, other) == pytest.approx(float(gaps.square().sum(1).mean()), abs=1e-6)
    assert alignment(feats, other) == pytest.approx(alignment(other, feats))
    assert alignment(feats, 5 * feats) == pytest.approx(0.0, abs=1e-9)
    assert alignment(feats, -feats) == pytest.approx(4.0, abs=1e-6)


def test_inter_class_uniformity_is_that_of_the_centroids(feats, targets):
    unit = F.normalize(feats)
    centroids = torch.stack([unit[targets == c].mean(0) for c in range(C)])
    expected = uniformity(centroids)
    assert inter_class_uniformity(feats, targets) == pytest.approx(expected, abs=1e-6)
    gaps = 3 * targets  # class numbers that do not follow each other
    assert inter_class_uniformity(feats, gaps) == pytest.approx(expected, abs=1e-6)


def test_rankme_in_closed_form():
    assert rankme(torch.eye(8)) == pytest.approx(8.0)
    assert rankme(torch.eye(8)[:, :3]) == pytest.approx(3.0)
    assert rankme(torch.ones(8, 5)) == pytest.approx(1.0)
    assert rankme(torch.zeros(8, 5)) == 0.0
    weights = torch.tensor([0.5, 0.25, 0.25])
    assert rankme(torch.diag(weights)) == pytest.approx(math.exp(1.5 * math.log(2)))


def test_rankme_equals_the_singular_values(feats):
    sigma = torch.linalg.svdvals(feats.double())
    shares = sigma / sigma.sum()
    expected = math.exp(-float((shares * shares.log()).sum()))
    assert rankme(feats) == pytest.approx(expected, rel=1e-12)
    wide = feats.T.contiguous()
    assert rankme(wide) == pytest.approx(expected, rel=1e-12)


def test_invariant_to_order_and_rotation(feats, targets):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    rotation, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(4)))
    moved, classes = feats[order] @ rotation, targets[order]
    assert uniformity(moved) == pytest.approx(uniformity(feats), abs=1e-5)
    assert tolerance(moved, classes) == pytest.approx(tolerance(feats, targets), abs=1e-6)
    assert rankme(moved) == pytest.approx(rankme(feats), rel=1e-5)
    assert inter_class_uniformity(moved, classes) == pytest.approx(
        inter_class_uniformity(feats, targets), abs=1e-5
    )


def test_length_of_features_matters_to_rankme_only(feats, targets):
    scaled = feats * torch.linspace(0.1, 10, N).unsqueeze(1)
    assert uniformity(scaled) == pytest.approx(uniformity(feats), abs=1e-6)
    assert tolerance(scaled, targets) == pytest.approx(tolerance(feats, targets), abs=1e-6)
    assert rankme(scaled) != pytest.approx(rankme(feats), rel=1e-3)


def test_unlabelled_rows_are_left_out(feats, targets):
    hidden = targets.clone()
    hidden[::4] = -1
    keep = hidden != -1
    assert tolerance(feats, hidden) == pytest.approx(tolerance(feats[keep], targets[keep]))
    assert inter_class_uniformity(feats, hidden) == pytest.approx(
        inter_class_uniformity(feats[keep], targets[keep])
    )


def test_what_is_undefined_is_refused(feats):
    distinct = torch.arange(N)
    with pytest.raises(ValueError, match="two rows of one class"):
        tolerance(feats, distinct)
    with pytest.raises(ValueError, match="needs two classes, got 1"):
        inter_class_uniformity(feats, torch.zeros(N, dtype=torch.long))
    with pytest.raises(ValueError, match="needs two classes, got 0"):
        inter_class_uniformity(feats, torch.full((N,), -1))
    with pytest.raises(ValueError, match="N >= 2"):
        uniformity(feats[:1])
    with pytest.raises(ValueError, match="t must be positive and finite, got 0"):
        uniformity(feats, t=0)
    with pytest.raises(ValueError, match="chunk_size must be positive and finite, got -1"):
        rankme(feats, chunk_size=-1)
    with pytest.raises(ValueError, match="equal shapes"):
        alignment(feats, feats[1:])
    with pytest.raises(ValueError, match="NaN"):
        uniformity(feats.log())


@pytest.mark.slow
def test_ten_thousand_features_take_seconds():
    generator = torch.Generator().manual_seed(0)
    feats = torch.randn(10_000, 512, generator=generator)
    targets = torch.randint(10, (10_000,), generator=generator)
    start = time.thread_time()  # the same on a busy machine; one thread by conftest.py
    value = uniformity(feats)
    tolerance(feats, targets)
    rankme(feats)
    assert time.thread_time() - start < 5
    # E exp(4 (s - 1)) is near exp(-4 + 8 / D) for the cosines of isotropic features
    assert value == pytest.approx(-4 + 8 / 512, abs=1e-3)
