"""Online numbers against a plain formula over all rows of all processes in one go."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from tests.forked import Forked, torchrun
from torch import Tensor

from solo_dyntemp.hosts.found import solo_learn

WORKER = Path(__file__).with_name("online_worker.py")
K, CLASSES = 5, 7


def run(folder: Path, method: str, images: int, labelled: str, processes: int) -> dict[str, str]:
    """Train, and return the last row of metrics.csv."""
    words = [f"devices={processes}", *(["strategy=ddp"] if processes > 1 else [])]
    ranks = [
        Forked(WORKER, folder, method, images, labelled, *words, env=variables)
        for variables in (torchrun(processes) if processes > 1 else [{}])
    ]
    outs, errs = zip(*(rank.communicate() for rank in ranks), strict=True)
    assert not any(rank.returncode for rank in ranks), errs
    assert "".join(outs).count("epoch 2/2") == 1
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))[-1]


def rows(seen: Any, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Features, logits and targets of the labelled rows that a classifier saw."""
    found = [
        (feats, logits, targets.repeat(len(logits) // len(targets)))
        for calls, targets in seen
        for who, feats, logits in calls
        if who == name
    ]
    feats, logits, targets = (torch.cat(part) for part in zip(*found, strict=True))
    keep = targets != -1
    return feats[keep], logits[keep], targets[keep]


def formula(logits: Tensor, targets: Tensor) -> dict[str, float]:
    names = range(CLASSES)
    return {
        "loss": log_loss(targets, logits.double().softmax(1), labels=names),
        "acc1": 100 * accuracy_score(targets, logits.argmax(1)),
        "acc5": 100 * top_k_accuracy_score(targets, logits, k=5, labels=names),
    }


def check(folder: Path, row: dict[str, str], processes: int, momentum: bool) -> None:
    """Compare the row with the formulas over what all processes saw."""
    seen = [torch.load(folder / f"{rank}.pt") for rank in range(processes)]
    train = [step for share in seen for step in share["train"]]
    val = [step for share in seen for step in share["val"]]
    _, logits, targets = rows(train, "online")
    expected = {f"train_{k.replace('loss', 'class_loss')}": v
                for k, v in formula(logits, targets).items()}  # fmt: skip
    if momentum:
        found = formula(*rows(train, "momentum")[1:])
        expected["train_momentum_class_loss"] = found["loss"]
        expected["train_momentum_acc1"] = found["acc1"]
    val_feats, logits, val_targets = rows(val, "online")
    expected |= {f"val_{key}": value for key, value in formula(logits, val_targets).items()}
    # the bank: first views only
    first = [([call for call in calls if call[0] == "online"][:1], y) for calls, y in train]
    bank, _, bank_targets = rows(first, "online")

    def weights(distance: Any) -> Any:
        return torch.as_tensor((1 - distance) / 0.1).exp().numpy()

    judge = KNeighborsClassifier(K, metric="cosine", weights=weights)
    judge.fit(bank.double().numpy(), bank_targets.numpy())
    said = judge.predict(F.normalize(val_feats.double(), dim=1).numpy())
    expected["val_knn_acc1"] = 100 * accuracy_score(val_targets, said)
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, rel=1e-5), name


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(("method", "processes"), [("simclr", 1), ("byol", 2)])
def test_half_labelled_and_uneven_shares_give_what_one_formula_gives(
    tmp_path: Path, method: str, processes: int
) -> None:
    # 17 images in batches of 8: two batches for one process, one for the other
    row = run(tmp_path, method, 17, "half", processes)
    check(tmp_path, row, processes, momentum=method == "byol")


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("labelled", ["all", "none"])
def test_fewer_validation_images_than_processes(tmp_path: Path, labelled: str) -> None:
    row = run(tmp_path, "simclr", 1, labelled, 2)
    assert float(row["train_acc1"]) > 0
    if labelled == "all":
        check(tmp_path, row, 2, momentum=False)
    else:  # nothing is known, which is not 0 %
        assert not any(value for name, value in row.items() if name.startswith("val_"))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.solo
@pytest.mark.skipif(solo_learn() is None, reason="solo-learn is not on the path")
@pytest.mark.parametrize("processes", [1, 2])
def test_solo_learns_methods_are_measured_alike(tmp_path: Path, processes: int) -> None:
    row = run(tmp_path, "solo/byol", 17, "half", processes)
    check(tmp_path, row, processes, momentum=True)
