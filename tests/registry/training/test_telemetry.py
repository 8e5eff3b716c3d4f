from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from solo_registry.config.resolve import resolve
from solo_registry.errors import UserError
from solo_registry.jobs.pretrain import pretrain
from solo_registry.plots import mechanism
from solo_registry.runs.model import read_checkpoint

Tiny = Callable[..., DictConfig]
# 143 images in batches of 32, of which 128 are measured
FEW = ("data.fraction=0.1", "optimizer.batch_size=32", "evaluation.enabled=false")


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["simclr_dyntemp", "mocov2plus", pytest.param("nnclr_dyntemp", marks=pytest.mark.nightly)],
)
def test_measuring_changes_nothing_of_the_training(
    tiny: Tiny, tmp_path: object, method: str
) -> None:
    off = ["telemetry.every_n_epochs=0", f"runs_dir={tmp_path}/off"]
    runs = [pretrain(tiny(method, *FEW, *words)) for words in (off, ["telemetry.every_n_epochs=1"])]
    assert not list(runs[0].path.glob("*.parquet"))
    assert runs[0].identity == runs[1].identity  # telemetry is no part of the hash
    assert runs[0].metrics.read_bytes() == runs[1].metrics.read_bytes()
    weights = [read_checkpoint(run.checkpoint)["state_dict"] for run in runs]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.slow
def test_epochs_and_columns(tiny: Tiny) -> None:
    words = ("optimizer.batch_size=128", "max_epochs=3", "telemetry.every_n_epochs=2")
    run = pretrain(tiny("simclr_dyntemp", *FEW, *words))
    trajectory = pd.read_parquet(run.path / "trajectory.parquet")
    pairs = pd.read_parquet(run.path / "mechanism.parquet")
    assert trajectory["epoch"].tolist() == [0, 2, 3] == pairs["epoch"].unique().tolist()
    assert trajectory.notna().all(axis=None)
    # 128 images in one batch of two views: 256 anchors, 254 negatives each
    count = pairs[pairs["epoch"] == 0].groupby("population")["pairs"].sum()
    assert count.sum() == 256 * 255 and count["true_positive"] == 256
    # positives and negatives pull with equal force through one tau; here they do up to tau
    assert trajectory["tau_negative_min"].min() >= 0.1 - 1e-6
    assert trajectory["tau_positive_max"].max() <= 0.2 + 1e-6


@pytest.mark.slow
def test_a_changed_byte_of_a_number_is_noticed(tiny: Tiny) -> None:
    """By the checksums of the pages; the list of columns after them has none."""
    run = pretrain(tiny("simclr", *FEW, "max_epochs=1", "telemetry.every_n_epochs=1"))
    path = run.path / "trajectory.parquet"
    whole, table, noticed = path.read_bytes(), pd.read_parquet(path), 0
    pages = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, pages, 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            assert mechanism._table(path).equals(table)
        except (OSError, ValueError) as error:
            noticed += "CRC" in str(error)
    assert noticed > 50


def test_too_few_images_are_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"telemetry\.images must be at least 2, got 1"):
        resolve(tiny("simclr", "telemetry.images=1"))
    with pytest.raises(UserError, match=r"telemetry\.every_n_epochs must be 0 or more"):
        resolve(tiny("simclr", "telemetry.every_n_epochs=-1"))
