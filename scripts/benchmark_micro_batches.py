"""Measure what optimizer.micro_batch_size costs in time and saves in memory, on a CPU.

A step with micro-batches forwards twice, so it takes at least (2F + B) / (F + B) of a step without,
where F and B are the times of forward and backward. Both steps take turns in one process and are
compared by CPU time: what else runs on the machine counts little.

    python scripts/benchmark_micro_batches.py --batch 256 --micro 128 64 32
    python scripts/benchmark_micro_batches.py --batch 8192 --micro 128 --one --bf16  # memory
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmark_step import arguments as step_arguments
from benchmark_step import batch_of, build, step

from solo_registry.catalog.plugins import load_plugins

MEGABYTE = 1e6


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def seconds(function: Callable[[], Any]) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def parts(model: Any, batch: Any, size: int, bf16: bool) -> dict[str, float]:
    """Time forward and backward of a batch whose parts are batches of their own."""
    found = {"forward": 0.0, "backward": 0.0}
    for first in range(0, len(batch[0]), size):
        rows = slice(first, first + size)
        part = batch[0][rows], [view[rows] for view in batch[1]], batch[2][rows]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            start = time.process_time()
            loss = model.training_step(part, 0)
        found["forward"] += time.process_time() - start
        found["backward"] += seconds(loss.backward)
    return found


def compare(args: argparse.Namespace, size: int) -> dict[str, float]:
    """Return ratios of CPU time, the median of the repeats.

    Returns:
        `cache`: a step with micro-batches by one without. `small`: the same images as separate
        batches of the micro-batch's size, by one without. `floor`: (2F + B) / (F + B) of these
        separate batches. `rest`: `cache` by `small` and `floor`, what the cache adds besides.
    """
    model, optimizer = build("simclr_dyntemp", args)
    batch = batch_of(args)
    rows: list[dict[str, float]] = []
    for repeat in range(args.warmup + args.repeats):
        model.cfg.optimizer.micro_batch_size = None
        whole = seconds(lambda: step(model, optimizer, batch, args.bf16))
        apart = parts(model, batch, size, args.bf16)
        model.cfg.optimizer.micro_batch_size = size
        cached = seconds(lambda: step(model, optimizer, batch, args.bf16))
        both = apart["forward"] + apart["backward"]
        row = {"cache": cached / whole, "small": both / whole, "floor": 1 + apart["forward"] / both}
        if repeat >= args.warmup:
            rows.append(row | {"rest": row["cache"] / row["small"] / row["floor"]})
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def once(args: argparse.Namespace, size: int) -> None:
    """Take one step, and print its memory and time."""
    model, optimizer = build("simclr_dyntemp", args)
    batch = batch_of(args)
    model.cfg.optimizer.micro_batch_size = size
    model.implementation = "tiled"
    before = peak()
    spent = seconds(lambda: step(model, optimizer, batch, args.bf16))
    print(
        f"{args.batch} images of {args.size} px in micro-batches of {size}: {peak():.0f} MB at "
        f"most, {before:.0f} MB before the step, {spent:.0f} s of CPU time"
    )


def main() -> None:
    """Measure and print."""
    parser = step_arguments()
    parser.description = (__doc__ or "").splitlines()[0]
    parser.add_argument("--micro", type=int, nargs="+", default=[128, 64, 32, 16])
    parser.add_argument("--one", action="store_true", help="one step; prints its memory")
    args = parser.parse_args()
    load_plugins()
    for size in args.micro:
        if args.one:
            once(args, size)
            continue
        found = compare(args, size)
        print(
            f"{args.batch} images in micro-batches of {size}: {found['cache']:.2f} of a step "
            f"without; separate batches {found['small']:.2f}, forward twice "
            f"{found['floor']:.2f}, the rest {found['rest']:.2f}"
        )


if __name__ == "__main__":
    main()
