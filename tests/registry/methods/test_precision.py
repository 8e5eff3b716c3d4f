"""Every precision that a Trainer takes trains every method, with telemetry and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from solo_registry.jobs.pretrain import pretrain

FEW = ("max_epochs=1", "data.fraction=0.1", "optimizer.batch_size=32", "telemetry.images=32",
       "evaluation.linear=false", "evaluation.pictures=false")  # fmt: skip


@pytest.mark.slow
@pytest.mark.each_kind
@pytest.mark.parametrize("precision", ["64", "bf16-true"])
def test_a_whole_run(method: str, precision: str, small: Callable[..., Any], usual: str) -> None:
    run = pretrain(small(usual, *FEW, f"precision={precision}"), Console(quiet=True))
    assert 0 < run.read_result()["results"]["trained"]["knn_acc1"] <= 100


@pytest.mark.slow
def test_telemetry_of_the_untrained_network(small_of: Any) -> None:
    """float64 measures what float32 does, on the same views; bfloat16 to its rounding."""
    found = {}
    for precision in ("32", "64", "bf16-mixed"):
        words = (*FEW, "evaluation.enabled=false", f"precision={precision}")
        run = pretrain(small_of("simclr")("resnet", *words), Console(quiet=True))
        found[precision] = pd.read_parquet(run.path / "trajectory.parquet").iloc[0]
    numbers = ["uniformity", "tolerance", "alignment"]
    exact = found["32"][numbers].astype(float)
    assert (found["64"][numbers].astype(float) - exact).abs().max() < 1e-5
    assert (found["bf16-mixed"][numbers].astype(float) - exact).abs().max() < 0.05
