import pytest
import torch
import torch.nn.functional as F
from lightly.utils.benchmarking.knn import knn_predict as lightly_knn_predict

from solo_registry.errors import UserError
from solo_registry.metrics.knn import knn_accuracy, knn_predict
from solo_registry.metrics.neighbours import KNNVoter, _top
from solo_registry.metrics.online_knn import OnlineKNN

N, M, D, C = 157, 61, 16, 7


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(N, D, generator=generator)
    targets = torch.randint(C, (N,), generator=generator)
    test = torch.randn(M, D, generator=generator)
    test_targets = torch.randint(C, (M,), generator=generator)
    return train, targets, test, test_targets


def reference(train, targets, test, k, temperature, distance="cosine"):
    """Loop over every query, straight from the definition, in float64."""
    train, test = train.double(), test.double()
    rows = []
    for query in test:
        if distance == "cosine":
            similarity = F.cosine_similarity(query.unsqueeze(0), train)
            weights = (similarity / temperature).exp()
        else:
            similarity = -(query - train).square().sum(1).sqrt()
            weights = 1 / (1e-5 - similarity)
        votes = torch.zeros(C, dtype=torch.float64)
        for index in similarity.argsort(descending=True)[:k].tolist():
            votes[targets[index]] += weights[index]
        rows.append(votes / votes.sum())
    return torch.stack(rows)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, N])
def test_equals_a_loop_over_the_queries(data, k, distance):
    train, targets, test, _ = data
    scores = knn_predict(train, targets, test, k=k, num_classes=C, distance=distance)
    expected = reference(train, targets, test, k, 0.1, distance)
    torch.testing.assert_close(scores.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("chunk_size", [1, 13, 20, N, 10_000])
def test_chunk_size_does_not_change_the_answer(data, chunk_size, distance):
    train, targets, test, _ = data
    test = test.repeat(9, 1)  # more queries than one chunk holds
    whole = knn_predict(train, targets, test, num_classes=C, distance=distance)
    parts = knn_predict(
        train, targets, test, num_classes=C, distance=distance, chunk_size=chunk_size
    )
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [1, 7, 64, 1000, 1023])
@pytest.mark.parametrize("k", [1, 3, 20, 300])
def test_top_is_exact(width, k):
    values = torch.randn(11, width, generator=torch.Generator().manual_seed(k))
    values[3] = 0.0  # ties
    found, columns = _top(values, k)
    expected = values.topk(min(k, width)).values
    assert torch.equal(found.sort(descending=True).values, expected)
    assert torch.equal(values.gather(1, columns), found)
    assert all(len(row.unique()) == min(k, width) for row in columns)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (20, 0.07), (100, 0.5)])
def test_ranks_classes_as_lightly_does(data, k, temperature):
    train, targets, test, _ = (part for part in data)
    train, test = F.normalize(train), F.normalize(test)
    ours = knn_predict(train, targets, test, k=k, temperature=temperature, num_classes=C)
    theirs = lightly_knn_predict(test, train.T, targets, C, k, temperature)
    assert torch.equal(ours.argmax(1), theirs[:, 0])


def test_invariant_to_order_rotation_and_length(data):
    train, targets, test, _ = data
    scores = knn_predict(train, targets, test, num_classes=C)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    rotation, _ = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)))
    lengths = torch.linspace(0.1, 50, N).unsqueeze(1)
    moved = knn_predict(
        (train * lengths)[order] @ rotation, targets[order], 3 * test @ rotation, num_classes=C
    )
    torch.testing.assert_close(moved, scores, rtol=1e-4, atol=1e-6)


def test_unlabelled_rows_are_ignored(data):
    train, targets, test, test_targets = data
    hidden = targets.clone()
    hidden[::3] = -1
    keep = hidden != -1
    torch.testing.assert_close(
        knn_predict(train, hidden, test, num_classes=C, chunk_size=10),
        knn_predict(train[keep], targets[keep], test, num_classes=C),
    )
    with pytest.raises(ValueError, match=rf"k={N} with N={int(keep.sum())} labelled"):
        knn_predict(train, hidden, test, k=N, num_classes=C)
    partly = test_targets.clone()
    partly[5:] = -1
    accuracy = knn_accuracy(train, targets, test, partly, num_classes=C)
    assert accuracy == knn_accuracy(train, targets, test[:5], test_targets[:5], num_classes=C)


def test_several_k_share_one_search(data):
    train, targets, test, test_targets = data
    together = knn_accuracy(train, targets, test, test_targets, k=(50, 1, 10), num_classes=C)
    assert list(together) == [50, 1, 10]
    for k, value in together.items():
        alone = knn_accuracy(train, targets, test, test_targets, k=[k], num_classes=C)
        assert alone == {k: value}
        best = knn_predict(train, targets, test, k=k, num_classes=C).argmax(1)
        assert value == pytest.approx(100 * (best == test_targets).double().mean().item())


def test_classes_come_from_the_caller(data):
    train, targets, test, _ = data
    few = torch.zeros(M, dtype=torch.long)  # the test set lacks all other classes
    knn_accuracy(train, targets, test, few, num_classes=C)
    scores = knn_predict(train, targets, test, num_classes=C + 3)
    assert scores.shape == (M, C + 3)
    assert not scores[:, C:].any()


@pytest.mark.parametrize("temperature", [1e-3, 0.01, 1e3])
def test_scores_are_shares_at_any_temperature(data, temperature):
    train, targets, test, _ = data
    scores = knn_predict(train, targets, test, temperature=temperature, num_classes=C)
    assert scores.min() >= 0
    torch.testing.assert_close(scores.sum(1), torch.ones(M))


def test_hostile_features_stay_finite():
    train, targets = torch.zeros(30, 4), torch.arange(30) % 3
    for distance in ("cosine", "euclidean"):
        scores = knn_predict(train, targets, train, num_classes=3, distance=distance)
        torch.testing.assert_close(scores.sum(1), torch.ones(30))


def test_half_precision_inputs_are_computed_in_float32(data):
    train, targets, test, _ = data
    scores = knn_predict(train.half(), targets, test.half(), num_classes=C)
    assert scores.dtype == torch.float32
    expected = knn_predict(train.half().float(), targets, test.half().float(), num_classes=C)
    assert torch.equal(scores, expected)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"k": 0}, "k=0"),
        ({"k": N + 1}, f"k={N + 1} with N={N}"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "got nan"),
        ({"distance": "manhattan"}, "'manhattan'"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
        ({"num_classes": C - 1}, f"got {C - 1}"),
        ({"test_feats": torch.ones(3, D + 1)}, f"{D} and {D + 1}"),
        ({"test_feats": torch.full((3, D), float("nan"))}, "test_feats holds 48 values"),
        ({"train_feats": torch.ones(N, D, dtype=torch.long)}, "floating point"),
        ({"train_targets": torch.zeros(N - 1, dtype=torch.long)}, "train_targets must have shape"),
        ({"train_targets": torch.zeros(N)}, "must be integers"),
        ({"train_targets": torch.full((N,), -2)}, "got -2"),
    ],
)
def test_bad_arguments_are_named(data, change, text):
    train, targets, test, _ = data
    arguments = {"train_feats": train, "train_targets": targets, "test_feats": test}
    with pytest.raises(ValueError, match=text):
        knn_predict(**(arguments | {"num_classes": C} | change))


def test_accuracy_refuses_no_k_and_no_labels(data):
    train, targets, test, test_targets = data
    for k in ([], [0, 5]):
        with pytest.raises(ValueError, match="numbers of neighbours"):
            knn_accuracy(train, targets, test, test_targets, k=k, num_classes=C)
    with pytest.raises(ValueError, match="no labelled row"):
        knn_accuracy(train, targets, test, torch.full((M,), -1), num_classes=C)


def agrees(knn, test, scores):
    """Whether the online kNN classifies every row as the scores do."""
    knn.add_queries(test, scores.argmax(1))
    return knn.classify(torch.device("cpu")) == (len(test), len(test))


@pytest.mark.parametrize("batch", [1, 10, N])
def test_online_equals_offline(data, batch):
    train, targets, test, _ = data
    knn = OnlineKNN(C, k=5)
    for round_trip in range(2):
        for start in range(0, N, batch):
            knn.update(train[start : start + batch], targets[start : start + batch])
        assert len(knn) == N
        scores = knn_predict(train, targets, test, k=5, num_classes=C)
        assert agrees(knn, test, scores), round_trip
        assert not agrees(knn, test, scores.roll(1, 0))
        knn.reset()
        assert len(knn) == 0


def test_online_bank_keeps_growing_after_a_search(data):
    train, targets, test, _ = data
    knn = OnlineKNN(C, k=5)
    knn.update(train[:50], targets[:50])
    assert agrees(knn, test, knn_predict(train[:50], targets[:50], test, k=5, num_classes=C))
    knn.update(train[50:], targets[50:])
    assert agrees(knn, test, knn_predict(train, targets, test, k=5, num_classes=C))


def test_online_full_blocks_are_not_copied_again(data, monkeypatch):
    monkeypatch.setattr("solo_registry.metrics.online_knn.CHUNK_SIZE", 40)
    train, targets, test, _ = data
    knn = OnlineKNN(C, k=5)
    knn.update(train[:40], targets[:40])
    address = knn._full[0][0].data_ptr()
    knn.update(train[40:], targets[40:])
    assert agrees(knn, test, knn_predict(train, targets, test, k=5, num_classes=C))
    assert knn._full[0][0].data_ptr() == address


def test_online_bank_owns_its_rows():
    feats = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    knn = OnlineKNN(2, k=1)
    knn.update(feats, torch.tensor([0, 1]))
    with torch.no_grad():
        feats.mul_(-1)
    knn.add_queries(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert knn.classify(torch.device("cpu")) == (1, 1)


def test_online_skips_unlabelled_and_names_bad_input():
    knn = OnlineKNN(2, k=2)
    knn.update(torch.ones(3, 4), torch.tensor([-1, 0, -1]))
    knn.update(torch.ones(2, 4), torch.tensor([-1, -1]))
    assert len(knn) == 1
    with pytest.raises(ValueError, match="bank's D=4, got D=5"):
        knn.update(torch.ones(1, 5), torch.tensor([0]))
    with pytest.raises(ValueError, match="bank's D=4, got D=5"):
        knn.add_queries(torch.ones(1, 5), torch.tensor([0]))
    with pytest.raises(ValueError, match="got 2"):
        knn.update(torch.ones(1, 4), torch.tensor([2]))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        OnlineKNN(2, k=0)


def test_vote_refuses_no_classes():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        KNNVoter(0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_device_is_where_the_answer_lies(data):
    train, targets, test, _ = data
    scores = knn_predict(train, targets, test, num_classes=C, device="cuda")
    assert scores.is_cuda
    expected = knn_predict(train, targets, test, num_classes=C)
    torch.testing.assert_close(scores.cpu(), expected, rtol=1e-3, atol=1e-5)


def test_answers_over_an_epoch_are_those_of_all_rows_in_one_go(data, monkeypatch):
    monkeypatch.setattr("solo_registry.metrics.online_knn.ROUND", 7)
    train, targets, test, test_targets = data
    known = test_targets.clone()
    known[::2] = -1
    knn = OnlineKNN(C, k=5)
    knn.update(train, targets)
    for start in range(0, M, 10):
        knn.add_queries(test[start : start + 10], known[start : start + 10])
    right, rows = knn.classify(torch.device("cpu"))
    expected = knn_accuracy(train, targets, test, known, k=[5], num_classes=C)
    assert rows == int((known != -1).sum()) and 100 * right / rows == expected[5]
    knn.add_queries(test, torch.full((M,), -1))  # what was asked before is forgotten
    assert knn.classify(torch.device("cpu")) == (0, 0)
    knn.reset()
    knn.update(train[:4], targets[:4])
    knn.add_queries(test, known)
    assert knn.classify(torch.device("cpu")) is None  # fewer rows than k


@pytest.mark.parametrize("where", ["bank", "questions"])
def test_answers_from_features_that_are_not_finite_are_refused(data, where):
    train, targets, test, test_targets = data
    bad = torch.full((1, D), float("nan"))
    knn = OnlineKNN(C, k=5)
    knn.update(torch.cat([train, bad]) if where == "bank" else train,
               torch.cat([targets, targets[:1]]) if where == "bank" else targets)  # fmt: skip
    knn.add_queries(test if where == "bank" else bad.expand(M, D), test_targets)
    with pytest.raises(UserError, match=r"online kNN: .* values are NaN or infinite"):
        knn.classify(torch.device("cpu"))
