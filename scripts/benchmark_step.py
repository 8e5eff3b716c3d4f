"""Time one training step of simclr_dyntemp against simclr's, on the same backbone and batch.

The two take turns in one process, so that both see the same machine; what is compared is the
median. Forward, loss, backward and optimizer step are included, data loading is not.

    python scripts/benchmark_step.py --batch 256 --size 32 --backbone resnet18
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from solo_registry.catalog.plugins import load_plugins
from solo_registry.catalog.registry import METHODS
from solo_registry.config.resolve import resolve

METHOD_NAMES = ("simclr", "simclr_dyntemp")


def build(method: str, args: argparse.Namespace) -> Any:
    """Build a method and its optimizer, outside any trainer."""
    cfg = resolve(
        OmegaConf.create(
            {
                "method": method,
                "backbone": {"name": args.backbone},
                "data": {"dataset": "digits", "num_classes": 10},
                "augmentations": [{"crop_size": args.size, "num_crops": 2}],
                "optimizer": {"name": "sgd", "batch_size": args.batch, "lr": 0.01},
                "scheduler": {"name": "none"},
            }
        )
    )
    cfg.data.image_channels = args.channels
    torch.manual_seed(0)
    model = METHODS.get(method)(cfg).to(args.device)
    model.log = model.log_dict = lambda *_, **__: None  # there is no trainer to log to
    groups = [{key: group[key] for key in ("params",)} for group in model.learnable_params]
    return model, torch.optim.SGD(groups, lr=0.01, momentum=0.9)


def step(model: Any, optimizer: torch.optim.Optimizer, batch: Any) -> float:
    """Take one optimizer step and return its seconds."""
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    model.training_step(batch, 0).backward()
    optimizer.step()
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18", help="any backbone name")
    parser.add_argument("--batch", type=int, default=256, help="images per batch, two views each")
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=15, help="timed steps of each method")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    load_plugins()
    models = {name: build(name, args) for name in METHOD_NAMES}
    generator = torch.Generator().manual_seed(0)
    shape = (args.batch, args.channels, args.size, args.size)
    batch = (
        torch.arange(args.batch, device=args.device),
        [torch.randn(shape, generator=generator).to(args.device) for _ in range(2)],
        torch.randint(10, (args.batch,), generator=generator).to(args.device),
    )
    for model, optimizer in models.values():
        step(model, optimizer, batch)
    seconds: dict[str, list[float]] = {name: [] for name in METHOD_NAMES}
    for repeat in range(args.repeats):
        for name in METHOD_NAMES if repeat % 2 else METHOD_NAMES[::-1]:
            seconds[name].append(step(*models[name], batch))
    base, ours = (seconds[name] for name in METHOD_NAMES)
    table = Table("method", "median ms", "min ms", "max ms")
    for name in METHOD_NAMES:
        times = [1000 * value for value in seconds[name]]
        table.add_row(name, *(f"{f(times):.1f}" for f in (statistics.median, min, max)))
    console = Console()
    console.print(table)
    ratios = [b / a for a, b in zip(base, ours, strict=True)]
    console.print(
        f"simclr_dyntemp / simclr: {statistics.median(ours) / statistics.median(base):.3f} "
        f"(medians), {min(ours) / min(base):.3f} (fastest), "
        f"{statistics.median(ratios):.3f} (median of pairs)"
    )


if __name__ == "__main__":
    main()
