import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from solo_registry.metrics.accuracy import balanced_accuracy, top_accuracy


def test_grows_with_top_and_ends_at_all():
    scores = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(50) % 6
    values = [top_accuracy(scores, targets, top) for top in range(1, 7)]
    assert values == sorted(values)
    assert values[-1] == 100.0


def test_equal_scores_are_ordered_by_class():
    scores = torch.zeros(2, 3)
    assert top_accuracy(scores, torch.tensor([0, 2])) == 50.0


def test_unlabelled_rows_are_left_out():
    scores = torch.eye(3)
    assert top_accuracy(scores, torch.tensor([0, -1, 0])) == 50.0
    with pytest.raises(ValueError, match="no labelled row among 3"):
        top_accuracy(scores, torch.tensor([-1, -1, -1]))


@pytest.mark.parametrize("top", [0, 4])
def test_top_must_fit_the_classes(top):
    with pytest.raises(ValueError, match=f"got {top}"):
        top_accuracy(torch.eye(3), torch.arange(3), top)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("sizes", [(30, 30, 30), (90, 9, 1), (50, 0, 2)])
def test_balanced_accuracy_is_sklearns(sizes):
    generator = torch.Generator().manual_seed(sum(sizes))
    targets = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    scores = torch.randn(len(targets), 3, generator=generator)
    expected = 100 * balanced_accuracy_score(targets, scores.argmax(1))
    assert balanced_accuracy(scores, targets) == pytest.approx(expected)
    more = torch.cat((targets, torch.tensor([-1])))
    assert balanced_accuracy(torch.cat((scores, scores[:1])), more) == pytest.approx(expected)
    if len(set(sizes)) == 1:
        assert balanced_accuracy(scores, targets) == pytest.approx(top_accuracy(scores, targets))
    with pytest.raises(ValueError, match="no labelled row"):
        balanced_accuracy(scores, torch.full_like(targets, -1))
