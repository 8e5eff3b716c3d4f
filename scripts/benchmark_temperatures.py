"""What each elementwise temperature costs in the tiled loss, relative to the cosine.

    python scripts/benchmark_temperatures.py --pairs 512 2048

On a GPU, `gpu_check.py --parts temperatures` measures the same of the Triton kernels.

One thread of one process takes each temperature in turn, forward and backward, D = 128, float32.
The cost is CPU time, so that a busy machine disturbs little. Of each round we take the ratio to the
cosine of the same round, and of the rounds the median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from solo_dyntemp.losses import dyntemp_infonce
from solo_dyntemp.temperature import (
    ArctanhTemperature,
    ConstantTemperature,
    CosineTemperature,
    ExponentialTemperature,
    InvertedCosineTemperature,
    LinearTemperature,
    MonotoneCosineTemperature,
    ShiftedCosineTemperature,
    Temperature,
)

# the cosine first; made when used, since making one computes, and gpu_check forks after the import
CURVES: dict[str, Callable[[], Temperature]] = {
    "cosine": partial(CosineTemperature, 0.1, 0.2),
    "constant": partial(ConstantTemperature, 0.2),
    "shifted_cosine": partial(ShiftedCosineTemperature, 0.1, 0.2),
    "linear": partial(LinearTemperature, 0.1, 0.2),
    "exponential": partial(ExponentialTemperature, 0.1, 0.2),
    "monotone_cosine": partial(MonotoneCosineTemperature, 0.1, 0.2),
    "inverted_cosine": partial(InvertedCosineTemperature, 0.15, 0.2),
    "arctanh": ArctanhTemperature,
}


def step(
    temperature: Temperature, detach: bool, z: Tensor, implementation: str = "tiled"
) -> Callable[[], Any]:
    """Return a function that runs the loss on `z`, shape (2n, D), forward and backward."""
    indexes = torch.arange(len(z) // 2, device=z.device).repeat(2)

    def run() -> None:
        z.grad = None
        dyntemp_infonce(
            z,
            indexes,
            temperature=temperature,
            detach_temperature=detach,
            implementation=implementation,
        ).backward()

    return run


def ratios(steps: dict[str, Callable[[], Any]], rounds: int) -> tuple[float, dict[str, float]]:
    """Return the cosine's milliseconds and the ratio of each step to it, medians of `rounds`."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):  # the first round warms up
        for name, run in steps.items():
            start = time.process_time()
            run()
            if turn:
                taken[name].append(time.process_time() - start)
    first = taken["cosine"]
    return 1e3 * median(first), {
        name: median(a / b for a, b in zip(seconds, first, strict=True))
        for name, seconds in taken.items()
    }


def main() -> None:
    """Read the command line, measure and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    columns = {}
    for n in options.pairs:
        z = torch.randn(2 * n, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
        for detach in (True, False):
            title = f"n = {n}, {'detached' if detach else 'with its gradient'}"
            steps = {name: step(make(), detach, z) for name, make in CURVES.items()}
            milliseconds, found = ratios(steps, options.rounds)
            columns[f"{title} (cosine {milliseconds:.3g} ms)"] = found
    print("| | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|")
    for name in CURVES:
        print(f"| `{name}` | " + " | ".join(f"{c[name]:.2f}" for c in columns.values()) + " |")


if __name__ == "__main__":
    main()
