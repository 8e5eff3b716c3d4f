import subprocess
import sys

import pytest
import torch
from pytest import approx
from sklearn.metrics import balanced_accuracy_score

from solo_registry.metrics.geometry import (
    alignment,
    inter_class_uniformity,
    rankme,
    tolerance,
    uniformity,
)
from solo_registry.metrics.knn import knn_accuracy, knn_predict
from solo_registry.metrics.linear_probe import linear_probe
from solo_registry.metrics.protocol import PROTOCOLS, Features, describe, evaluate_features

N, D, C = 120, 8, 6
SETTINGS = {"knn_k", "knn_temperature", "knn_distance", "linear_l2", "linear_converged"}


def split(seed, classes=C):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(N) % classes
    centres = torch.randn(classes, D, generator=torch.Generator().manual_seed(9))
    return Features(centres[targets] + torch.randn(N, D, generator=generator), targets)


def test_every_number_is_that_of_its_own_function():
    train, test = split(0), split(1)
    views = (test.feats, test.feats + 0.1)
    result = evaluate_features(
        train, test, num_classes=C, knn_k=7, knn_temperature=0.2, views=views
    )
    data = (train.feats, train.targets, test.feats, test.targets)
    probe = linear_probe(*data, num_classes=C)
    votes = knn_predict(*data[:3], k=7, temperature=0.2, num_classes=C)
    knn_balanced, linear_balanced = (
        100 * balanced_accuracy_score(test.targets, scores.argmax(1))
        for scores in (votes, probe.scores)
    )
    assert result == {
        "knn_acc1": knn_accuracy(*data, k=[7], temperature=0.2, num_classes=C)[7],
        "knn_balanced_acc1": approx(knn_balanced),
        "linear_acc1": probe.acc1,
        "linear_acc5": probe.acc5,
        "linear_balanced_acc1": approx(linear_balanced),
        "uniformity": uniformity(test.feats),
        "tolerance": tolerance(test.feats, test.targets),
        "alignment": alignment(*views),
        "inter_class_uniformity": inter_class_uniformity(test.feats, test.targets),
        "rankme": rankme(test.feats),
        "knn_k": 7,
        "knn_temperature": 0.2,
        "knn_distance": "cosine",
        "linear_l2": probe.l2,
        "linear_converged": True,
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same_numbers():
    train, test = split(0), split(1)
    views = (test.feats, test.feats + 0.1)
    cpu, gpu = (
        evaluate_features(train, test, num_classes=C, views=views, device=device)
        for device in ("cpu", "cuda")
    )
    assert gpu == {key: approx(value, rel=1e-4) for key, value in cpu.items()}


def test_keys_are_stable_whatever_is_measured():
    unlabelled = Features(split(1).feats, torch.full((N,), -1))
    for test in (split(1), unlabelled):
        result = evaluate_features(split(0), test, num_classes=C)
        assert set(result) == set(PROTOCOLS) | SETTINGS


def test_unlabelled_data_have_no_accuracy():
    unlabelled = Features(split(1).feats, torch.full((N,), -1))
    for train, test in ((unlabelled, split(1)), (split(0), unlabelled)):
        result = evaluate_features(train, test, num_classes=C)
        accuracies = [key for key in PROTOCOLS if "acc" in key]
        assert len(accuracies) == 5
        for key in (*accuracies, "linear_l2", "alignment"):
            assert result[key] is None
        assert result["uniformity"] is not None
    assert result["tolerance"] is None
    assert result["inter_class_uniformity"] is None


def test_two_classes_have_no_top5():
    result = evaluate_features(split(0, 2), split(1, 2), num_classes=2)
    assert result["linear_acc1"] is not None
    assert result["linear_acc5"] is None


def test_one_test_row():
    test = split(1)
    single = Features(test.feats[:1], test.targets[:1])
    result = evaluate_features(split(0), single, num_classes=C)
    assert result["knn_acc1"] in (0.0, 100.0)
    assert result["uniformity"] is None
    assert result["tolerance"] is None


def test_settings_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=f"k={N + 1} with N={N}"):
        evaluate_features(split(0), split(1), num_classes=C, knn_k=N + 1)
    with pytest.raises(ValueError, match="feats must have shape"):
        Features(torch.ones(3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="targets must have shape"):
        Features(torch.ones(3, 2), torch.zeros(2, dtype=torch.long))


def test_every_protocol_has_its_text():
    result = evaluate_features(split(0), split(1), num_classes=C)
    texts = {key: describe(key, result) for key in PROTOCOLS}
    assert "k=20" in texts["knn_acc1"]
    assert not any("{" in text for text in texts.values())
    with pytest.raises(ValueError, match="'speed'"):
        describe("speed", result)
    with pytest.raises(ValueError, match="'knn_k' is unknown"):
        describe("knn_acc1", {})


@pytest.mark.distributed
def test_package_imports_nothing_heavy():
    code = "import sys, solo_registry.evaluation; print({'torch', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
