"""Measures what matters on one GPU in fifteen minutes, in parts that do not need each other.

    python scripts/gpu_check.py --out results/gpu                # all, in order of worth
    python scripts/gpu_check.py --out results/gpu --parts loss,step
    python scripts/gpu_check.py --out /tmp/dry --dry-run         # all parts, tiny, on the CPU

Each part runs in a process of its own with a limit, and writes OUT/PART.jsonl line by line and
OUT/PART.log. So a part that fails or hangs leaves what it found, and the others go on. The table at
the end is also OUT/table.md; OUT/about.json says on which card and with which versions.
OUT/check.json has all lines of all parts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

# before torch: a fork must find CUDA untouched, and the log must not wait in a buffer
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("PYTHONUNBUFFERED", "1")

import torch
from gpu_parts import (
    board,
    epoch,
    large_batch,
    loader,
    loss,
    resume,
    shapes,
    step,
    temperatures,
    tests,
)
from gpu_parts.common import Part, Setting, Verdict, end, read_lines, start, write_lines

MODULES = (  # in the order of worth
    tests, loss, temperatures, shapes, step, loader, epoch, resume, board, large_batch,
)  # fmt: skip
PARTS: dict[str, Part] = {module.PART.name: module.PART for module in MODULES}
DRY_SECONDS = 120
# imported once, and then there in every fork
BEFORE_FORKS = (
    "solo_registry.jobs.pretrain", "solo_registry.cli.main", "solo_registry.leaderboard.report",
    "hydra", "lightly.loss", "sklearn.datasets", "timm.models", "torchvision.datasets",
)  # fmt: skip


def about(device: str) -> dict[str, Any]:
    """Return card, driver, versions and time."""
    found: dict[str, Any] = {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "device": device,
    }
    for name in ("torch", "triton", "torchvision", "lightning", "timm", "lightly", "solo-dyntemp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if device == "cuda":
        query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit"
        done = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader"], capture_output=True, text=True
        )
        found |= {"cuda": torch.version.cuda, "nvidia-smi": done.stdout.strip() or done.stderr}
    return found


def run_part(part: Part, setting: Setting, seconds: float) -> list[dict[str, Any]]:
    """Run a part in a process of its own, and return its lines."""
    log = setting.out / f"{part.name}.log"
    process = start(write_lines, part, setting, log=log)
    in_time = end(process, seconds)
    lines = read_lines(setting.out / f"{part.name}.jsonl")
    if not in_time:
        lines.append({"error": f"did not end within {seconds:.0f} s"})
    elif process.exitcode and not any("error" in line for line in lines):
        lines.append({"error": f"exit code {process.exitcode}"})
    return lines


def judged(part: Part, lines: list[dict[str, Any]]) -> Verdict:
    """Return the verdict on a part: what it found, or the errors that kept it from finding it."""
    errors = [line["error"] for line in lines if "error" in line]
    try:
        verdict = part.verdict([line for line in lines if not {"error", "wall"} & set(line)])
    except Exception as error:  # too few lines
        verdict = Verdict(f"nothing to say ({type(error).__name__}: {error})")
    if errors:
        return Verdict(f"{verdict.figure}; failed: {errors[-1]}", False)
    return verdict


def table(rows: list[tuple[Part, Verdict, float]], dry: bool) -> str:
    """Return a Markdown table of goals and findings."""
    lines = ["| part | seconds | found | goal | |", "|---|---|---|---|---|"]
    for part, verdict, seconds in rows:
        said = {True: "reached", False: "missed", None: "-"}[verdict.reached]
        said = "-" if dry and verdict.reached is not None else said
        figure = verdict.figure.replace("|", "/").replace("\n", " ")
        lines.append(f"| {part.name} | {seconds:.0f} | {figure} | {part.goal} | {said} |")
    return "\n".join(lines)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="list the parts and end")
    parser.add_argument("--parts", default=",".join(PARTS), help="a,b: some of them, in this order")
    parser.add_argument("--out", type=Path, help="folder for what they find")
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--budget", type=float, default=870, help="seconds for all parts")
    parser.add_argument("--fashion-mnist", type=Path, help="folder with its idx files")
    given = parser.parse_args()
    given.parts = given.parts.split(",")
    if unknown := [name for name in given.parts if name not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    if not given.list and not given.out:
        parser.error("--out DIR says where to write what the parts find")
    if not given.list and not given.dry_run and not torch.cuda.is_available():
        parser.error("PyTorch finds no CUDA device; --dry-run needs none")
    return given


def main() -> int:
    """Run the parts and print the table."""
    given = read_arguments()
    if given.list:
        for part in PARTS.values():
            print(f"{part.name:12} {part.seconds:4} s  {part.about}; goal: {part.goal}")
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    device = "cpu" if given.dry_run else "cuda"
    carried = Path(".whl/fashion-mnist")
    place = given.fashion_mnist or (carried if carried.is_dir() else None)
    setting = Setting(given.out.resolve(), device, given.dry_run, place and place.resolve())
    facts = about(device)
    (setting.out / "about.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts), flush=True)
    for module in BEFORE_FORKS:
        importlib.import_module(module)
    began = time.perf_counter()
    rows, found = [], {}
    for name in given.parts:
        part, begin = PARTS[name], time.perf_counter()
        left = given.budget - (begin - began)
        limit = min(DRY_SECONDS if given.dry_run else part.seconds, left)
        lines = [{"error": "no time left"}] if left < 5 else run_part(part, setting, limit)
        rows.append((part, judged(part, lines), time.perf_counter() - begin))
        found[name] = lines
        text = table(rows, given.dry_run)
        (setting.out / "table.md").write_text(text + "\n", encoding="utf-8")
        everything = json.dumps({"about": facts, "parts": found}, indent=1)
        (setting.out / "check.json").write_text(everything + "\n", encoding="utf-8")
        print(f"{name}: {rows[-1][1].figure} ({rows[-1][2]:.0f} s)", flush=True)
    print(f"\n{text}")
    return int(any("failed: " in verdict.figure for _, verdict, _ in rows))


if __name__ == "__main__":
    raise SystemExit(main())
