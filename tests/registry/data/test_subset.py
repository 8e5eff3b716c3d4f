import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.config.identity import config_hash
from solo_registry.config.index_file import INDEX_FILE, index_hash, read_indices
from solo_registry.config.resolve import resolve
from solo_registry.data.sets import load_set
from solo_registry.data.subset import chosen_images, class_sizes, long_tail
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain

Tiny = Callable[..., DictConfig]


def test_cifars_usual_sizes() -> None:
    sizes = class_sizes(5000, 10, "exponential", 0.01)
    assert sizes[0] == 5000 and sizes[-1] == 50
    ratios = [after / before for before, after in pairwise(sizes)]
    assert all(abs(ratio - 0.01 ** (1 / 9)) < 0.005 for ratio in ratios)
    assert class_sizes(500, 100, "step", 0.1) == [500] * 50 + [50] * 50
    assert class_sizes(5000, 10, "exponential", 1) == [5000] * 10


def test_a_tail_follows_its_profile_and_its_seed_alone() -> None:
    targets = torch.arange(10).repeat(200)[torch.randperm(2000)]
    kept = long_tail(targets, "exponential", 0.1, seed=0)
    assert targets[kept].bincount().tolist() == class_sizes(200, 10, "exponential", 0.1)
    assert kept == sorted(set(kept)) == long_tail(targets, "exponential", 0.1, seed=0)
    assert kept != long_tail(targets, "exponential", 0.1, seed=1)
    rare = {index for index in kept if targets[index] == 9}
    rarer = long_tail(targets, "exponential", 0.01, seed=0)
    assert {index for index in rarer if targets[index] == 9} < rare  # the tails are nested


def test_a_tail_needs_labels() -> None:
    with pytest.raises(UserError, match="needs labels of at least two classes"):
        long_tail(torch.tensor([-1, 0, 1]), "step", 0.1, seed=0)


def test_a_fraction_is_taken_of_what_the_tail_left() -> None:
    targets = torch.arange(4).repeat(100)
    tail = SimpleNamespace(profile="step", factor=0.1, seed=0)
    data = SimpleNamespace(long_tail=tail, fraction=0.5)
    kept = chosen_images(targets, data)
    assert kept is not None and targets[kept].bincount().tolist() == [50, 50, 5, 5]
    assert set(kept) < set(long_tail(targets, "step", 0.1, seed=0))
    assert chosen_images(targets, SimpleNamespace(fraction=-1)) is None


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", "holds no index"),
        ("1\n-2\n", "entry 2: '-2' is no index"),
        ("1\n2.5\n", "entry 2: '2.5' is no index"),
        ("7\n40\n", "entry 2: index 40 of a set of 40 images"),
        ("1\n" + "9" * 5000, "entry 2: '999.*[.]{3} is no index"),
        ("7\n3\n7\n", "entry 3: index 7 is there twice"),
    ],
)
def test_a_bad_index_file_is_refused(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "indices.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=f"indices.txt.*{error}"):
        read_indices(path, 40)
    with pytest.raises(UserError, match=r"cannot read data\.long_tail\.index_file=.*nowhere"):
        read_indices(tmp_path / "nowhere")


def test_an_index_file_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "indices.txt"
    path.write_bytes(b"\xef\xbb\xbf3\r\n1\r\n")
    assert read_indices(path, 40) == [3, 1]


def test_every_set_can_have_a_tail_and_val_stays_whole() -> None:
    tail = SimpleNamespace(profile="step", factor=0.1)
    data = SimpleNamespace(dataset="digits", long_tail=tail)
    train, val = load_set(data, "train"), load_set(data, "val")
    assert train is not None and val is not None and len(val) == 360
    assert train.targets.bincount().tolist() == [139] * 5 + [13] * 5
    whole = load_set(SimpleNamespace(dataset="digits"), "train")
    assert whole is not None and whole.indices is None and train.indices is not None
    assert torch.equal(train[7][0], whole[train.indices[7]][0])


@pytest.mark.parametrize(
    ("override", "error"),
    [
        (
            "data.long_tail.profile=exponental",
            "profile is 'exponental'. Did you mean 'exponential'",
        ),
        ("data.long_tail.factor=0", r"factor must be in \(0, 1\], got 0"),
        ("data.long_tail.index_file=nowhere.txt", "cannot read data.long_tail.index_file"),
        ("data.long_tail.sed=3", "unknown config key 'data.long_tail.sed'"),
    ],
)
def test_wrong_values_are_refused(tiny: Tiny, override: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        resolve(tiny("simclr", override))


def test_the_hash_follows_the_content_of_an_index_file(tiny: Tiny, tmp_path: Path) -> None:
    hashes = []
    for name, content in (("a", "0\n1\n"), ("b", "0\n1\n"), ("c", "0\n2\n")):
        path = tmp_path / name
        path.write_text(content)
        hashes.append(config_hash(resolve(tiny("simclr", f"data.long_tail.index_file={path}"))))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.slow
def test_a_run_writes_its_indices_and_another_takes_them(tiny: Tiny, tmp_path: Path) -> None:
    few = ("max_epochs=1", "optimizer.batch_size=64")
    first = pretrain(tiny("simclr", *few, "data.long_tail.profile=exponential",
                          "data.long_tail.factor=0.1"))  # fmt: skip
    result = json.loads(first.result.read_text())
    indices = read_indices(first.path / INDEX_FILE)
    record: dict[str, Any] = {"file": INDEX_FILE, "images": len(indices)}
    assert result["train_indices"] == record | {"sha256": index_hash(indices)}
    tail = result["long_tail"]
    assert tail["train_counts"] == class_sizes(139, 10, "exponential", 0.1)
    assert tail["classes"] == {"head": [0, 1, 2, 3], "middle": [4, 5, 6], "tail": [7, 8, 9]}
    assert set(tail["results"]) == {"raw_pixels", "untrained", "trained"}
    given = tmp_path / "given.txt"
    given.write_text((first.path / INDEX_FILE).read_text())
    again = pretrain(tiny("simclr", *few, f"data.long_tail.index_file={given}"))
    other = json.loads(again.result.read_text())
    assert other["results"] == result["results"] and other["long_tail"] == tail
    assert other["train_indices"] == result["train_indices"]


def test_an_index_file_that_changes_under_a_run_is_found(tmp_path: Path) -> None:
    path = tmp_path / "indices.txt"
    path.write_text("0\n1\n")
    tail = SimpleNamespace(index_file=str(path), index_hash=index_hash([0, 2]))
    with pytest.raises(UserError, match="has changed since the run began"):
        chosen_images(torch.zeros(5, dtype=torch.long), SimpleNamespace(long_tail=tail))
