"""Time and memory of the loss, forward and backward, against others and against the floor.

    python scripts/benchmark_loss.py --pairs 128 1024 4096 --out results
    python scripts/benchmark_loss.py --device cuda --out results    # adds the Triton kernels

Every measurement runs in its own process, so that its peak memory is its own; the cases take turns
in several rounds and the fastest repeat counts, so that a busy machine disturbs all alike. What
fails is recorded, not dropped. The floor is two matrix products of the same shapes, z z^T and
(2n x 2n) @ z: what any exact loss with a gradient has to compute.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from loss_cases import label, step

CASES = ["triton", "tiled", "dense", "auto", "lightly", "solo-learn", "floor"]


def measure(case: str, n: int, dimension: int, seconds: float, device: str) -> dict[str, Any]:
    """Run one case for about `seconds`, at least twice; return milliseconds and MB."""
    torch.manual_seed(0)
    z = torch.randn(2 * n, dimension, device=device, requires_grad=True)
    warm = torch.randn(64, dimension, device=device, requires_grad=True)
    step(case, 32, warm)()  # imports, threads and libraries are not the loss's memory
    run = step(case, n, z)
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = memory(device)
    best, end = float("inf"), time.perf_counter() + seconds
    repeats = 0
    while repeats < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
        repeats += 1
    return {"ms": 1e3 * best, "mb": memory(device) - before, "repeats": repeats}


def memory(device: str) -> float:
    """Return the peak memory of this process in MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def in_own_process(case: str, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one case in a process of its own; return what it measured, or its error."""
    command = [sys.executable, __file__, "--worker", case, "--pairs", str(n)]
    for name in ("dimension", "seconds", "threads", "device", "limit"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return {"error": "out of memory" if "memory" in lines[-1] else lines[-1]}


def worker(options: argparse.Namespace) -> None:
    """Measure one case in this process and print the result."""
    if options.limit and options.device == "cpu":
        resource.setrlimit(resource.RLIMIT_AS, (options.limit * 2**30, options.limit * 2**30))
    torch.set_num_threads(options.threads)
    result = measure(
        options.worker, options.pairs[0], options.dimension, options.seconds, options.device
    )
    print(json.dumps(result))


def table(results: dict[str, dict[str, dict[str, Any]]], unit: str) -> str:
    """Return a Markdown table, one row for each case."""
    sizes = list(results)
    lines = ["| | " + " | ".join(f"n = {n}" for n in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for case in CASES:
        cells = []
        for n in sizes:
            cell = results[n].get(case, {"error": "-"})
            cells.append(number(cell[unit]) if unit in cell else cell["error"])
        if not all(cell == "-" or "No module" in cell for cell in cells):
            lines.append(f"| {label(case)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fastest(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Say which of our kernels is the fastest at each size, and by which factor."""
    lines = []
    for n, cases in results.items():
        times = {case: cases[case]["ms"] for case in CASES[:3] if "ms" in cases.get(case, {})}
        if not times:
            continue
        first, *others = sorted(times, key=times.__getitem__)
        factors = [
            f"{case} takes {times[case] / times[first]:.2f} times as long" for case in others
        ]
        lines.append(f"n = {n}: {first} is the fastest of ours; {', '.join(factors)}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Return a number with three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plot_costs(results: dict[str, dict[str, dict[str, Any]]], path: Path) -> None:
    """Draw time and memory over the number of pairs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, unit, title in zip(axes, ("ms", "mb"), ("time, ms", "peak memory, MB"), strict=True):
        for case in CASES:
            found = {int(n): row.get(case, {}).get(unit) for n, row in results.items()}
            points = [(n, value) for n, value in found.items() if value is not None]
            if points:
                axis.loglog(*zip(*points, strict=True), marker="o", label=label(case))
        axis.set(xlabel="image pairs", title=f"forward + backward: {title}")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="+", default=[128, 512, 1024, 2048, 4096, 8192])
    parser.add_argument("--cases", nargs="+", choices=CASES, help="all that run on the device")
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--limit", type=int, default=0, help="GB a case may use, 0: no limit (CPU)")
    parser.add_argument("--out", type=Path, help="folder for loss.json and loss.png")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device")
    options.cases = options.cases or CASES[options.device == "cpu" :]
    if options.worker:
        worker(options)
        return
    results: dict[str, dict[str, dict[str, Any]]] = {str(n): {} for n in options.pairs}
    for n in options.pairs:
        for turn in range(options.rounds):
            for case in options.cases:
                known = results[str(n)].get(case)
                if known and "error" in known:
                    continue
                new = in_own_process(case, n, options)
                if known is None or new.get("ms", float("inf")) < known["ms"]:
                    results[str(n)][case] = new
            print(f"n = {n}, round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    about = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": options.threads,
        "dimension": options.dimension,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "rounds": options.rounds,
    }
    print(f"{about}\n\nTime, ms\n\n{table(results, 'ms')}\n\nPeak memory over the inputs, MB\n")
    print(f"{table(results, 'mb')}\n\n{fastest(results)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"about": about, "results": results}, indent=1)
        (options.out / "loss.json").write_text(text + "\n", encoding="utf-8")
        plot_costs(results, options.out / "loss.png")


if __name__ == "__main__":
    main()
