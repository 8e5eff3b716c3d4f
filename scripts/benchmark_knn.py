"""Time and memory of the weighted kNN, beside lightly's: python scripts/benchmark_knn.py.

Each side runs in a process of its own, so that its peak memory is its own. The features are random
with classes in them; what is measured does not depend on their values.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def features(rows: int, dim: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features around the centers of their classes, and the classes."""
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (rows,), generator=generator)
    return 0.3 * centers[targets] + torch.randn(rows, dim, generator=generator), targets


def ours(data: Any, k: int, classes: int) -> float:
    """Accuracy by `knn_accuracy`."""
    from solo_registry.metrics.knn import knn_accuracy

    return knn_accuracy(*data, k=[k], num_classes=classes)[k]


def lightly(data: Any, k: int, classes: int, batch: int) -> float:
    """Accuracy by lightly's `knn_predict`, called with `batch` queries at a time."""
    from lightly.utils.benchmarking.knn import knn_predict

    train, train_targets, test, test_targets = data
    bank = F.normalize(train, dim=1).T.contiguous()
    hits = 0
    for feats, targets in zip(test.split(batch), test_targets.split(batch), strict=True):
        found = knn_predict(F.normalize(feats, dim=1), bank, train_targets, classes, k, 0.1)
        hits += int((found[:, 0] == targets).sum())
    return 100 * hits / len(test)


def peak() -> float:
    """Largest main memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, args: argparse.Namespace, k: int, results: Any) -> None:
    """Run one side `args.repeats` times; report the best time and memory over the features."""
    train, test = (
        features(rows, args.dim, args.classes, seed)
        for seed, rows in ((1, args.train), (2, args.test))
    )
    data = (*train, *test)
    batch = {"lightly, batches": 256, "lightly, one call": args.test}.get(name, 0)
    if batch:  # warm up, so that imports count neither as time nor as memory
        lightly([part[:300] for part in data], 20, args.classes, batch)
    else:
        ours([part[:300] for part in data], 20, args.classes)
    before, times, accuracy = peak(), [], 0.0
    for _ in range(args.repeats):
        start, worked = time.perf_counter(), time.process_time()
        accuracy = lightly(data, k, args.classes, batch) if batch else ours(data, k, args.classes)
        times.append((time.perf_counter() - start, time.process_time() - worked))
    wall, worked = (min(kind) for kind in zip(*times, strict=True))
    results.put((wall, worked, peak() - before, accuracy))


def main() -> None:
    """Print a row per k and side."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (
        ("train", 50_000), ("test", 10_000), ("dim", 512), ("classes", 10), ("repeats", 3)
    ):  # fmt: skip
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--k", type=int, nargs="+", default=[20, 200])
    args = parser.parse_args()
    print(f"{args.train} x {args.test}, D={args.dim}, {torch.get_num_threads()} threads, torch "
          f"{torch.__version__}; best of {args.repeats}; memory over the features")  # fmt: skip
    context = multiprocessing.get_context("spawn")
    for k in args.k:
        for name in ("ours", "lightly, batches", "lightly, one call"):
            results = context.Queue()
            process = context.Process(target=measure, args=(name, args, k, results))
            process.start()
            wall, worked, memory, accuracy = results.get()
            process.join()
            print(
                f"k={k:<4} {name:<18} {wall:6.2f} s, {worked:6.2f} s of CPU, {memory:5.0f} MB, "
                f"{accuracy:.2f} %"
            )


if __name__ == "__main__":
    main()
