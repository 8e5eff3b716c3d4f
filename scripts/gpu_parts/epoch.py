"""Seconds of an epoch on whole Fashion-MNIST, and how much of them the GPU is not at work."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_parts.common import Line, Part, Setting, Verdict, end, run_command, start

QUIET = ("evaluation.enabled=false", "telemetry.every_n_epochs=0", "check_val_every_n_epoch=1000")
RUN = ("pretrain", "method=simclr_dyntemp", *QUIET)
GRAPHS = ("performance.compile=true", "performance.compile_mode=reduce-overhead")


def cost(folder: Path) -> Line:
    """Return cost.json of the one run below a folder."""
    (path,) = folder.rglob("cost.json")
    found: Line = json.loads(path.read_text(encoding="utf-8"))
    return found


def profiled(words: list[str], path: Path) -> None:
    """Train under PyTorch's profiler; write the seconds of the run's GPU kernels to `path`."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from gpu_parts.common import command

    on_gpu = torch.cuda.is_available()
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity]) as seen, contextlib.suppress(SystemExit):
        command(words)
    rows = seen.key_averages()
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    slowest = sorted(((getattr(row, key), row.key[:80]) for row in rows), reverse=True)
    busy = sum(time for time, _ in slowest) / 1e6
    path.write_text(json.dumps({"busy": busy, "slowest": slowest[:15]}), encoding="utf-8")


def host_profiled(words: list[str], path: Path) -> None:
    """Train under Python's profiler; write the functions that took most time to `path`."""
    import cProfile
    import pstats

    from gpu_parts.common import command

    profile = cProfile.Profile()
    with contextlib.suppress(SystemExit):
        profile.runcall(command, words)
    with path.open("w", encoding="utf-8") as file:
        for order in ("tottime", "cumulative"):
            pstats.Stats(profile, stream=file).strip_dirs().sort_stats(order).print_stats(60)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the cost of short and longer runs, whose difference is of epochs alone."""
    few, many = (1, 2) if setting.dry else (1, 4)
    words = [*RUN, *setting.words()]
    compiled = () if setting.dry else GRAPHS  # the compiler takes a minute on a CPU
    # the first run with graphs compiles; the others find that on disk
    for name, more, lengths in (
        ("plain", (), (few, many)),
        ("compiling", compiled, (few,)),
        ("graphs", compiled, (few, many)),
    ):
        for epochs in lengths:
            folder = setting.out / f"epoch-{name}-{epochs}"
            length = (f"max_epochs={epochs}", "scheduler.warmup_epochs=1")
            run_command(
                [*words, *more, f"runs_dir={folder}", *length], setting.out / "epoch-runs.log", 60
            )
            yield {"network": name, "epochs": epochs} | cost(folder)
    log, more = setting.out / "epoch-runs.log", ["max_epochs=1", "scheduler.warmup_epochs=1"]
    folder = setting.out / "epoch-host"
    own = [*words, *more, f"runs_dir={folder}"]
    end(start(host_profiled, own, setting.out / "epoch-host.txt", log=log), 50)
    path, folder = setting.out / "epoch-profile.json", setting.out / "epoch-profile"
    process = start(profiled, [*words, *more, f"runs_dir={folder}"], path, log=log)
    if end(process, 50) and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        yield {"profiled": 1} | found | {"train_seconds": cost(folder)["train_seconds"]}
    else:
        yield {"profiled": 0, "failed": "the profiled run did not end; see epoch-runs.log"}


def verdict(lines: Sequence[Line]) -> Verdict:
    """The seconds of an epoch are the difference of both runs over that of their epochs."""
    found, parts = [], []
    for name in ("plain", "graphs"):
        few, many = (line for line in lines if line.get("network") == name)
        seconds = (many["train_seconds"] - few["train_seconds"]) / (many["epochs"] - few["epochs"])
        memory = (many["peak_gpu_bytes"] or 0) / 1e9
        found.append(seconds)
        parts.append(f"{name} {seconds:.2f} s per epoch, {memory:.1f} GB")
    figure = "; ".join(parts)
    for line in lines:
        if "busy" in line:
            idle = 1 - line["busy"] / line["train_seconds"]
            figure += f"; GPU idle {100 * idle:.0f} % of a profiled first epoch"
    return Verdict(figure, min(found) <= 2)


PART = Part(
    "epoch",
    "whole Fashion-MNIST, ResNet-18, batch 512, bf16, views on the GPU; also with CUDA graphs",
    150,
    "<= 2 s per epoch (a public SimCLR on CIFAR-10: 11.9 s on an A100)",
    measure,
    verdict,
)
