"""1, 2 and 4 processes take the same steps, if the global batch is the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from solo_registry.config.resolve import resolve
from solo_registry.data.module import build_data

Tiny = Callable[..., DictConfig]
# no BatchNorm and no dropout: statistics and draws that belong to a process
WORDS = (
    "data=digits", "max_epochs=1", "backbone=vit_tiny", "backbone.kwargs.depth=1",
    "backbone.kwargs.embed_dim=16", "backbone.kwargs.num_heads=2", "backbone.kwargs.patch_size=2",
    "method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8", "precision=64",
    "accelerator=cpu", "evaluation.enabled=false", "telemetry.every_n_epochs=0",
    "logger=tensorboard", "log_every_n_steps=1",
)  # fmt: skip


class Place:
    """What a data module asks its trainer: which of how many processes it is in."""

    def __init__(self, rank: int, world: int) -> None:
        self.global_rank, self.world_size = rank, world
        self.strategy = type("Strategy", (), {"root_device": torch.device("cpu")})


def steps(cfg: DictConfig, rank: int, world: int, epoch: int) -> list[Any]:
    data = build_data(cfg)
    data.trainer = Place(rank, world)  # type: ignore[assignment]
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def sorted_rows(parts: tuple[Any, ...]) -> list[Tensor]:
    """Join the batches of all processes, in the order of the images."""
    indexes = torch.cat([part[0] for part in parts])
    views = [torch.cat(view) for view in zip(*(part[1] for part in parts), strict=True)]
    order = indexes.argsort()
    return [rows[order] for rows in (indexes, *views, torch.cat([part[2] for part in parts]))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image_folder", "on_device"])
def test_a_step_shows_the_same_views_in_any_number_of_processes(tiny: Tiny, kind: str) -> None:
    expected: list[list[Tensor]] = []
    for world, workers in ((1, 0), (1, 2), (2, 0), (4, 1)):
        words = (f"data.num_workers={workers}", f"optimizer.batch_size={16 // world}")
        given = tiny("simclr", "data.fraction=0.05", f"data.format={kind}", *words)
        cfg = resolve(given)
        ranks = [steps(cfg, rank, world, epoch=3) for rank in range(world)]
        found = [sorted_rows(parts) for parts in zip(*ranks, strict=True)]
        expected = expected or found
        assert len(found) == len(expected) == 4  # 71 images
        for one, other in zip(found, expected, strict=True):
            assert all(map(torch.equal, one, other))


@pytest.mark.nightly
@pytest.mark.distributed
@pytest.mark.parametrize("method", ["simclr_dyntemp", "mocov2plus"])
def test_the_first_20_losses_agree(tmp_path: Path, method: str) -> None:
    curves = []
    for world, workers in ((1, 0), (2, 1), (4, 0)):
        folder = tmp_path / str(world)
        folder.mkdir()
        words = (f"devices={world}", f"optimizer.batch_size={64 // world}")
        queue = ("method_kwargs.queue_size=256",) if method == "mocov2plus" else ()
        command = [sys.executable, "-m", "solo_registry", "pretrain", f"method={method}"]
        # not `run_forked`: loaders that share memory need a fork server of their own
        done = subprocess.run(
            [*command, *WORDS, *words, *queue, f"data.num_workers={workers}"],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (path,) = folder.rglob("tensorboard")
        events = EventAccumulator(str(path)).Reload()
        curves.append([event.value for event in events.Scalars("train_nce_loss_step")][:20])
    assert [len(curve) for curve in curves] == [20] * 3
    one, *others = map(torch.tensor, curves)
    assert (one[0] - one[-1]).abs() > 1e-3  # it has moved; a queue that fills raises the loss
    for other in others:
        assert (one - other).abs().max() < 1e-6
