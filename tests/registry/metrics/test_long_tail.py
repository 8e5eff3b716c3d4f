import pytest
import torch

from solo_registry.metrics.long_tail import group_accuracies, groups, long_tail_results, summary
from solo_registry.metrics.protocol import Features, evaluate_features


def test_groups_are_thirds_by_training_images() -> None:
    counts = torch.tensor([7, 90, 30, 8, 60, 9, 50])
    assert groups(counts) == {"head": [1, 4, 6], "middle": [2, 5], "tail": [3, 0]}
    assert groups(torch.tensor([100, 1])) is None
    assert groups(torch.tensor([100, 80, 51])) is None
    assert groups(torch.tensor([100, 80, 50])) is not None


@pytest.fixture
def features() -> tuple[Features, Features]:
    """Six classes, ever rarer, of which the last two are told apart by nothing."""
    generator = torch.Generator().manual_seed(0)
    means = torch.eye(6)
    means[5] = means[4]

    def split(counts: list[int]) -> Features:
        targets = torch.arange(6).repeat_interleave(torch.tensor(counts))
        noise = 0.1 * torch.randn(len(targets), 6, generator=generator)
        return Features(means[targets] + noise, targets)

    return split([60, 50, 40, 30, 20, 10]), split([50] * 6)


def test_groups_average_to_the_whole_and_the_tail_is_the_hard_part(
    features: tuple[Features, Features],
) -> None:
    train, test = features
    result = evaluate_features(train, test, num_classes=6, knn_k=5)
    tail = long_tail_results(train.targets, 6, {"trained": features}, {"trained": result})
    assert tail is not None
    found = tail["results"]["trained"]
    assert found == group_accuracies(train, test, tail["classes"], result)
    for measure in ("knn_acc1", "linear_acc1"):
        parts = [found[f"{name}_{measure}"] for name in ("head", "middle", "tail")]
        assert sum(parts) / 3 == pytest.approx(result[measure])  # type: ignore[arg-type]
        assert parts[0] == parts[1] == 100 and parts[2] < 80
    assert summary(tail).startswith(
        "trained backbone, kNN / linear probe (%): head 100.00 / 100.00"
    )


def test_even_classes_and_missing_accuracies_give_none(features: tuple[Features, Features]) -> None:
    train, test = features
    result = evaluate_features(test, test, num_classes=6)
    assert long_tail_results(test.targets, 6, {"a": (test, test)}, {"a": result}) is None
    nothing = {**result, "knn_acc1": None}
    assert long_tail_results(train.targets, 6, {"a": features}, {"a": nothing}) is None


def test_a_group_without_test_images(features: tuple[Features, Features]) -> None:
    train, test = features
    seen = test.targets < 4
    part = Features(test.feats[seen], test.targets[seen])
    result = evaluate_features(train, part, num_classes=6)
    classes = groups(train.targets.bincount())
    assert classes is not None
    assert group_accuracies(train, part, classes, result)["tail_knn_acc1"] is None
