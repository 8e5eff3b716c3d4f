"""A run that is killed and resumed, against one that is not: every byte."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from gpu_parts.common import Line, Part, Setting, Verdict, command, end, run_command, start

WORDS = (
    "pretrain", "method=simclr_dyntemp", "evaluation.enabled=false", "telemetry.every_n_epochs=0",
    "deterministic=true", "checkpoint.frequency=1", "data.fraction=0.2",
)  # fmt: skip


def found(folder: Path, name: str) -> Path | None:
    """Return the file of this name of the one run below a folder, if it is there."""
    return next(iter(folder.rglob(name)), None)


def kill_within(words: list[str], folder: Path, log: Path, seconds: float) -> None:
    """Start a run; send it signal 9 as soon as it has saved an epoch, while it trains the next."""
    process = start(command, words, log=log)
    until = time.monotonic() + seconds
    while found(folder, "last.ckpt") is None and time.monotonic() < until and process.is_alive():
        time.sleep(0.02)
    time.sleep(0.1)
    end(process, 0)


def differences(one: Path, other: Path) -> Line:
    """Return whether metrics are the same bytes, and how far the weights are apart."""
    metrics = [found(folder, "metrics.csv") for folder in (one, other)]
    checkpoints = [found(folder, "last.ckpt") for folder in (one, other)]
    assert all(metrics) and all(checkpoints), (metrics, checkpoints)
    texts = [path.read_bytes() for path in metrics if path]
    first, second = (
        torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for path in checkpoints if path
    )  # fmt: skip
    apart = {
        name: float((first[name].double() - second[name].double()).abs().max())
        for name in first
        if not torch.equal(first[name], second[name])
    }
    worst = max(apart, key=apart.__getitem__, default="")
    return {
        "metrics_equal": texts[0] == texts[1],
        "tensors": len(first),
        "tensors_apart": len(apart),
        "worst": [worst, apart.get(worst, 0.0)],
    }


def measure(setting: Setting) -> Iterator[Line]:
    """Yield what differs between whole runs, and between a whole and a resumed one."""
    log, words = setting.out / "resume-runs.log", [*WORDS, *setting.words(), "max_epochs=3"]
    names = ("whole", "killed") if setting.dry else ("whole", "again", "killed")
    folders = {name: setting.out / f"resume-{name}" for name in names}
    for name, folder in folders.items():
        own = [*words, f"runs_dir={folder}"]
        if name == "killed":
            kill_within(own, folder, log, 25)
            path = found(folder, "metrics.csv")
            yield {"killed_after": len(path.read_text().splitlines()) - 1 if path else 0}
        run_command(own, log, 40)
    for name in names[1:]:
        yield {"compared": name} | differences(folders["whole"], folders[name])


def verdict(lines: Sequence[Line]) -> Verdict:
    """A resumed run must be the run."""
    line = next(line for line in lines if line.get("compared") == "killed")
    after = next(line["killed_after"] for line in lines if "killed_after" in line)
    equal = line["metrics_equal"] and not line["tensors_apart"]
    if equal:
        return Verdict(f"killed after epoch {after} of 3: equal, {line['tensors']} tensors", True)
    name, size = line["worst"]
    again = [each["tensors_apart"] for each in lines if each.get("compared") == "again"]
    return Verdict(
        f"metrics equal: {line['metrics_equal']}; {line['tensors_apart']} of {line['tensors']} "
        f"tensors differ, {name} by {size:.1e}; of two whole runs: {again}",
        False,
    )


PART = Part(
    "resume",
    "kill -9 after the first epoch of 3, resume, deterministic",
    60,
    "the same bytes on one GPU",
    measure,
    verdict,
)
