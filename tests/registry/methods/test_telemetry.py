"""Methods of every kind let their pairs be measured, and are not changed by it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch.plugins.precision import Precision

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.methods.parts.method import ContrastiveMixin
from solo_registry.runs.model import build_method
from solo_registry.runs.run_folder import RunFolder
from solo_registry.training.callbacks import CostFile
from solo_registry.training.telemetry import Telemetry

KINDS = [
    "all4one", "byol", "deepclusterv2", "dino", "hcl", "mae", "mocov3_dyntemp", "nnclr", "siglip",
    "supcon_out", "swav", "wmse",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_pairs_are_measured_and_the_method_stays_as_it_was(
    small_of: Any, needs_of: Any, name: str, tmp_path: Path
) -> None:
    small = small_of(name)
    words = ("telemetry.images=32", "optimizer.batch_size=16", "telemetry.bins=20")
    cfg = resolve(small(needs_of(name).backbones[0], *words))
    data = build_data(cfg)
    model = build_method(cfg, data).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    telemetry = Telemetry(cfg, RunFolder(tmp_path), data, CostFile(tmp_path / "cost.json"))
    trainer: Any = SimpleNamespace(is_global_zero=True, precision_plugin=Precision())
    drawn = torch.get_rng_state()
    telemetry.measure(trainer, model, 0)
    assert torch.equal(torch.get_rng_state(), drawn) and model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    table = pd.read_parquet(tmp_path / "trajectory.parquet")
    assert table.notna().all(axis=None) and table["rankme"][0] > 0
    measured = isinstance(model, ContrastiveMixin) and model.INFONCE
    assert ("false_negative_share_gradient_flow" in table) == measured
