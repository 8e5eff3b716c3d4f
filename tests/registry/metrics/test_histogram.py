import pytest
import torch
import torch.nn.functional as F

from solo_registry.metrics.histogram import similarity_histogram

N, D, BINS = 37, 5, 20


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    z1 = torch.randn(N, D, generator=generator)
    return z1, z1 + 0.5 * torch.randn(N, D, generator=generator)


def density(values):
    counts = torch.histc(torch.tensor(values), BINS, -1, 1).double()
    return counts / (counts.sum() * 2 / BINS)


def test_equals_a_loop_over_the_pairs(views, monkeypatch):
    monkeypatch.setattr("solo_registry.metrics.histogram._CHUNK", 10)
    z1, z2 = views
    targets = torch.arange(N) % 3
    targets[5] = -1
    cosines = (F.normalize(z1) @ F.normalize(z2).T).tolist()
    populations = {"positives": [], "false": [], "true": [], "all": []}
    for i in range(N):
        for j in range(N):
            name = "false" if targets[i] == targets[j] else "true"
            populations["positives" if i == j else "all"].append(cosines[i][j])
            if i != j and targets[i] >= 0 and targets[j] >= 0:
                populations[name].append(cosines[i][j])
    result = similarity_histogram(z1, z2, targets, bins=BINS)
    for ours, name in (
        (result.true_positives, "positives"),
        (result.negatives, "all"),
        (result.false_negatives, "false"),
        (result.true_negatives, "true"),
    ):
        torch.testing.assert_close(ours, density(populations[name]))
    assert result.edges.tolist() == torch.linspace(-1, 1, BINS + 1, dtype=torch.float64).tolist()


def test_densities_integrate_to_one(views):
    result = similarity_histogram(*views, torch.arange(N) % 3, bins=BINS)
    for part in (result.true_positives, result.negatives, result.false_negatives):
        assert float(part.sum() * 2 / BINS) == pytest.approx(1.0)


def test_without_labels_the_negatives_are_not_split(views):
    result = similarity_histogram(*views, bins=BINS)
    assert result.false_negatives is None
    assert result.true_negatives is None
    labelled = similarity_histogram(*views, torch.arange(N) % 3, bins=BINS)
    assert torch.equal(result.negatives, labelled.negatives)


def test_equal_views_fill_the_last_bin():
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    positives = similarity_histogram(z, 2 * z, bins=4).true_positives
    assert positives.tolist() == [0.0, 0.0, 0.0, 2.0]


def test_bad_arguments_are_named(views):
    z1, z2 = views
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        similarity_histogram(z1, z2, bins=0)
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        similarity_histogram(z1[:1], z2[:1])
    with pytest.raises(ValueError, match="equal shapes"):
        similarity_histogram(z1, z2[1:])
    with pytest.raises(ValueError, match="targets must have shape"):
        similarity_histogram(z1, z2, torch.zeros(3, dtype=torch.long))
