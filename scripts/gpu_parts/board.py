"""A board on whole Fashion-MNIST: how small a difference five seeds can show."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu_parts.common import Line, Part, Setting, Verdict, command, end, run_command, start

DRY = (
    "data=digits", "max_epochs=1", "backbone.name=resnet10_narrow", "precision=32",
    "backbone.kwargs.channels=[4,4,8,8]", "optimizer.batch_size=64", "strategies=fixed,cosine",
    "data.fraction=0.1",
)  # fmt: skip


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the accuracies of every run, seed by seed; a process for each seed trains at a time."""
    seeds = 2 if setting.dry else 5
    place = [f"data.train_path={setting.fashion_mnist}"] if setting.fashion_mnist else []
    words = [
        "leaderboard", "run", "suite=gpu", f"runs_dir={setting.out / 'board-runs'}",
        f"accelerator={setting.accelerator}", *(DRY if setting.dry else place),
    ]  # fmt: skip
    if not setting.dry:
        processes = []
        for seed in range(1, seeds + 1):
            own = [*words, f"seeds=[{seed}]", f"board={setting.out / f'board-{seed}'}"]
            log = setting.out / f"board-{seed}.log"
            processes.append(start(on_a_share, own, seeds, log=log))
        yield from progress(processes, setting.out / "board-runs", 280)
    board = setting.out / "board"
    log = setting.out / "board.log"
    run_command([*words, f"seeds={seeds}", f"board={board}"], log, 100)
    yield from accuracies(board)


def progress(processes: Sequence[Any], runs: Path, seconds: float) -> Iterator[Line]:
    """Wait for processes at most `seconds`; yield when each run had trained, and was evaluated.

    So a board that is cut has left how far it came.
    """
    began = time.perf_counter()
    seen: set[Path] = set()
    going = True
    while going and time.perf_counter() - began < seconds:
        going = any(process.is_alive() for process in processes)
        for path in sorted(runs.rglob("cost.json")) + sorted(runs.rglob("result.json")):
            if path not in seen:
                seen.add(path)
                line = {"after": round(time.perf_counter() - began, 1), "written": path.name}
                yield line | {"run": str(path.parent.relative_to(runs))}
        time.sleep(0.5)
    for process in processes:
        end(process, 1)


def on_a_share(words: list[str], processes: int) -> None:
    """Run `dyntemp WORDS` with this process's share of the cores.

    As many threads in each as there are cores wait for each other longer than they compute.
    """
    import torch

    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))
    command(words)


def accuracies(board: Path) -> Iterator[Line]:
    """Yield strategy, seed and kNN accuracy of the board's runs, and the rows below them."""
    import pandas as pd

    runs = pd.read_csv(board / "report" / "runs.csv")
    for row in runs.to_dict("records"):
        kept = ("strategy", "seed", "knn_acc1", "train_seconds", "error", "state")
        yield {key: row[key] for key in kept if key in row and row[key] == row[key]}
    yield {"report": (board / "report" / "report.md").read_text(encoding="utf-8")}


def detectable(differences: Sequence[float], rows: int) -> float:
    """Return the smallest mean difference that a paired t test finds four times in five.

    At level 0.05 over `rows` comparisons (Holm's first step): (t_{1 - a/2} + t_{0.8}) s / sqrt(n).
    """
    from scipy.stats import t

    n = len(differences)
    mean = sum(differences) / n
    spread = math.sqrt(sum((each - mean) ** 2 for each in differences) / (n - 1))
    quantiles = t.ppf(1 - 0.05 / rows / 2, n - 1) + t.ppf(0.8, n - 1)
    return float(quantiles * spread / math.sqrt(n))


def verdict(lines: Sequence[Line]) -> Verdict:
    """The largest of the differences that could be detected counts."""
    runs = [line for line in lines if "knn_acc1" in line and "seed" in line]
    by: dict[str, dict[int, float]] = {}
    for line in runs:
        by.setdefault(line["strategy"], {})[line["seed"]] = line["knn_acc1"]
    fixed = by.pop("fixed")
    smallest, parts = 0.0, [f"fixed {sum(fixed.values()) / len(fixed):.2f} %"]
    for name, values in by.items():
        apart = [values[seed] - fixed[seed] for seed in sorted(values.keys() & fixed.keys())]
        own = detectable(apart, len(by))
        smallest = max(smallest, own)
        parts.append(f"{name} {sum(apart) / len(apart):+.2f} (detectable {own:.2f})")
    text = next(line["report"] for line in lines if "report" in line)
    raw = re.search(r"^\| raw pixels \|[^0-9]*([0-9.]+)", text, re.MULTILINE)
    above = sum(fixed.values()) / len(fixed) - float(raw[1]) if raw else math.nan
    parts.append(f"fixed is {above:+.2f} points from raw pixels")
    return Verdict("; ".join(parts), smallest <= 0.3 and above >= 3)


PART = Part(
    "board",
    "suite gpu: fixed, cosine, dual_constant, shuffled x 5 seeds on whole Fashion-MNIST",
    380,
    "smallest detectable difference <= 0.3 points; features >= 3 points above raw pixels",
    measure,
    verdict,
)
