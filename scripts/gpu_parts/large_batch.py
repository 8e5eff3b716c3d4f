"""A batch of 65,536 images on one card, by the gradient cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gpu_parts.common import Line, Part, Setting, Verdict, run_command
from gpu_parts.epoch import QUIET, cost

KEY = "micro_batch_size"


def noise(data: Any, split: str) -> Any:
    """Return as many images of noise as `data.train_path` says, 32 x 32."""
    from solo_registry.data.sets import SetInfo, TensorSet

    count = int(str(data.train_path).rpartition("/")[2]) if split == "train" else 16
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, 32, 32)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    info = SetInfo("noise", 2, 3, 32, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
    return TensorSet(info, images, torch.arange(count) % 2)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the cost of two steps."""
    from solo_registry.catalog.registry import DATASETS
    from solo_registry.config.schema import OptimizerConfig

    if KEY not in {each.name for each in dataclasses.fields(OptimizerConfig)}:
        yield {"left_out": f"this version has no optimizer.{KEY}"}
        return
    batch, micro, backbone = (
        (64, 16, "resnet10_narrow") if setting.dry else (65_536, 512, "resnet18")
    )
    DATASETS.add_lazy("gpu_check_noise", "gpu_parts.large_batch:noise", summary="noise")
    folder = setting.out / "large-batch"
    run_command(
        [
            "pretrain", "method=simclr_dyntemp", "data=cifar10", "data.dataset=gpu_check_noise",
            f"data.train_path=/{batch}", "data.val_path=null", "data.format=on_device",
            f"optimizer.batch_size={batch}", f"optimizer.{KEY}={micro}",
            f"backbone.name={backbone}", "optimizer.lr=1e-3", "max_epochs=2",
            "scheduler.warmup_epochs=0",
            *QUIET, "progress=none",
            f"accelerator={setting.accelerator}", f"runs_dir={folder}",
            *([] if setting.dry else ["precision=bf16-mixed"]),
        ],
        setting.out / "large_batch-runs.log", 100,
    )  # fmt: skip
    yield {"batch": batch, "micro": micro} | cost(folder)


def verdict(lines: Sequence[Line]) -> Verdict:
    """It must run; what it takes is stated."""
    (line,) = lines
    if "left_out" in line:
        return Verdict(line["left_out"])
    memory, seconds = (line["peak_gpu_bytes"] or 0) / 1e9, line["train_seconds"] / line["epochs"]
    return Verdict(
        f"batch {line['batch']:,} in parts of {line['micro']}: {memory:.1f} GB, {seconds:.1f} s a "
        "step",
        True,
    )


PART = Part(
    "large_batch",
    "gradient cache: batch 65,536, ResNet-18 at 32 px",
    60,
    "runs on one card; memory stated",
    measure,
    verdict,
)
