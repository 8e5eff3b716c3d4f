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
    if model.no_channel_last is False:
        model.to(memory_format=torch.channels_last)
    if args.compile:
        model.backbone.compile(mode=args.compile)
    model.log = model.log_dict = lambda *_, **__: None  # there is no trainer to log to
    groups = [{key: group[key] for key in ("params",)} for group in model.learnable_params]
    return model, torch.optim.SGD(groups, lr=0.01, momentum=0.9, fused=True)


def step(
    model: Any, optimizer: torch.optim.Optimizer, batch: Any, bf16: bool
) -> tuple[float, float]:
    """Take one optimizer step; return its seconds, and those until the host had asked for all."""
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=bf16):
        loss = model.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    asked = time.perf_counter() - start
    if batch[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, asked


def batch_of(args: argparse.Namespace) -> Any:
    """Return a batch of noise on the device."""
    generator = torch.Generator().manual_seed(0)
    shape = (args.batch, args.channels, args.size, args.size)
    return (
        torch.arange(args.batch, device=args.device),
        [torch.randn(shape, generator=generator).to(args.device) for _ in range(2)],
        torch.randint(10, (args.batch,), generator=generator).to(args.device),
    )


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """Time both methods by turns.

    Returns:
        `seconds` and `asked` (see `step`) by method, a number per repeat; and the `ratios` of the
        medians, of the fastest, and of the pairs.
    """
    load_plugins()
    models = {name: build(name, args) for name in METHOD_NAMES}
    batch = batch_of(args)
    for model, optimizer in models.values():
        for _ in range(args.warmup):
            step(model, optimizer, batch, args.bf16)
    seconds: dict[str, list[float]] = {name: [] for name in METHOD_NAMES}
    asked: dict[str, list[float]] = {name: [] for name in METHOD_NAMES}
    for repeat in range(args.repeats):
        for name in METHOD_NAMES if repeat % 2 else METHOD_NAMES[::-1]:
            found = step(*models[name], batch, args.bf16)
            seconds[name].append(found[0])
            asked[name].append(found[1])
    base, ours = (seconds[name] for name in METHOD_NAMES)
    ratios = {
        "medians": statistics.median(ours) / statistics.median(base),
        "fastest": min(ours) / min(base),
        "pairs": statistics.median(b / a for a, b in zip(base, ours, strict=True)),
    }
    return {"seconds": seconds, "asked": asked, "ratios": ratios}


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="resnet18", help="any backbone name")
    parser.add_argument("--batch", type=int, default=256, help="images per batch, two views each")
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=15, help="timed steps of each method")
    parser.add_argument("--warmup", type=int, default=1, help="steps before that")
    parser.add_argument("--bf16", action="store_true", help="as precision=bf16-mixed")
    parser.add_argument(
        "--compile", nargs="?", const="default", choices=("default", "reduce-overhead"),
        help="as performance.compile=true; reduce-overhead: with CUDA graphs as well",
    )  # fmt: skip
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def main() -> None:
    """Measure and print."""
    found = compare(arguments().parse_args())
    table = Table("method", "median ms", "min ms", "max ms", "host ms")
    for name in METHOD_NAMES:
        times = [1000 * value for value in found["seconds"][name]]
        host = 1000 * statistics.median(found["asked"][name])
        numbers = [f(times) for f in (statistics.median, min, max)]
        table.add_row(name, *(f"{number:.1f}" for number in (*numbers, host)))
    console = Console()
    console.print(table)
    ratios = found["ratios"]
    console.print(
        f"simclr_dyntemp / simclr: {ratios['medians']:.3f} (medians), {ratios['fastest']:.3f} "
        f"(fastest), {ratios['pairs']:.3f} (median of pairs)"
    )


if __name__ == "__main__":
    main()
