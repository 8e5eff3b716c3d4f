"""The first lines of a run: what they warn of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig

from solo_registry.config.resolve import resolve
from solo_registry.training import notes
from solo_registry.training.notes import all_warmup, bfloat16_cost, slow_bfloat16

Tiny = Callable[..., DictConfig]


def test_a_training_that_is_all_warm_up_is_warned_of(tiny: Tiny) -> None:
    for epochs, warned in ((1, True), (2, True), (3, False)):
        cfg = resolve(tiny("simclr", f"max_epochs={epochs}", "scheduler.warmup_epochs=2"))
        assert bool(all_warmup(cfg)) is warned


def test_a_cpu_that_bfloat16_makes_slower_is_warned_of(tiny: Tiny, monkeypatch: Any) -> None:
    def warning(precision: str, cost: float) -> str:
        monkeypatch.setattr(notes, "bfloat16_cost", lambda: cost)
        return slow_bfloat16(resolve(tiny("simclr", f"precision={precision}", "accelerator=cpu")))

    for precision in ("bf16-mixed", "bf16-true", "16-mixed"):
        assert f"precision={precision}: a convolution" in warning(precision, 12.0)
        assert "takes this CPU 12 times as long" in warning(precision, 12.0)
        assert warning(precision, 0.4) == ""
    for precision in ("32", "64"):
        assert warning(precision, 12.0) == ""


def test_the_measured_cost_is_that_of_the_cpu() -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    cost = bfloat16_cost()
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert cost > 0
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # PyTorch's own word
        assert cost > 2
