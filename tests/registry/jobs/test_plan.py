from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data
from solo_registry.jobs.plan import Counts, pairs_of_loss, plan
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import build_method, read_checkpoint

Tiny = Callable[..., DictConfig]
WORDS = ("data.fraction=0.25", "optimizer.batch_size=32", "telemetry.every_n_epochs=0",
         "evaluation.enabled=false")  # fmt: skip


def built(given: DictConfig) -> Any:
    cfg = resolve(given)
    data = build_data(cfg)
    return cfg, build_method(cfg, data), len(data.train_set)


@pytest.mark.slow
def test_a_run_takes_the_steps_that_were_planned(tiny: Tiny) -> None:
    given = tiny("simclr", *WORDS, "accumulate_grad_batches=2", "max_epochs=1")
    counts = Counts.of(*built(given))
    assert read_checkpoint(pretrain(given).checkpoint)["global_step"] == counts.steps == 6
    assert counts.images == 11 * 32 and counts.batches == 11


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("simclr", ()),
        ("dcl", ()),
        ("mocov3", ()),
        ("mocov2plus", ("method_kwargs.queue_size=128",)),
        ("nnclr", ("method_kwargs.queue_size=32",)),
    ],
)
def test_the_pairs_are_those_of_a_batch(tiny: Tiny, method: str, words: tuple[str, ...]) -> None:
    cfg, model, _ = built(tiny(method, "optimizer.batch_size=8", *words))
    views = [torch.randn(8, 1, 8, 8) for _ in range(2)]
    batch = torch.arange(8), views, torch.zeros(8, dtype=torch.long)
    mask = model.compared_pairs(model.embed(views), batch).mask
    anchors, candidates = pairs_of_loss(model, 8, 1)
    queue = int(cfg.method_kwargs.get("queue_size", 0))
    assert (anchors, candidates) == (mask.positive.shape[0], max(queue, mask.positive.shape[1]))
    assert pairs_of_loss(model, 8, 2) == (anchors, max(queue, 2 * mask.positive.shape[1]))
    assert model.training


@pytest.mark.slow
def test_a_plan_tells_steps_matrix_and_time_and_writes_nothing(tiny: Tiny, tmp_path: Any) -> None:
    words = (*WORDS, "optimizer.micro_batch_size=8", "devices=2")
    logging.getLogger("lightning.pytorch").setLevel(logging.INFO)  # as its import does
    lines = list(plan(tiny("simclr_dyntemp", *words), 0.05))
    text = "\n".join(lines)
    assert "359 images: 5 batches of 32 x 2 processes an epoch, 10 steps in 2 epochs" in text
    assert "64 anchors with 128 candidates: 3.28e-05 GB" in text
    assert "BatchNorm uses the statistics of 8 images" in text
    assert "images a second" in text and "the exchange between processes" in lines[-1]
    assert not list(tmp_path.rglob("*"))
    assert logging.getLogger("lightning.pytorch").level == logging.WARNING  # no tips among them
