"""What the parts share: their form, the setting, processes with a limit, and a stopwatch."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Line = dict[str, Any]
PR_SET_PDEATHSIG = 1
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Setting:
    """Where and how the parts run.

    Attributes:
        out: folder for JSON lines, logs and runs.
        device: "cuda" or "cpu".
        dry: everything tiny, to see that the parts work.
        fashion_mnist: folder with its idx files; None where dyntemp finds them by itself.
    """

    out: Path
    device: str
    dry: bool
    fashion_mnist: Path | None = None

    def words(self) -> list[str]:
        """Return overrides of a run on whole Fashion-MNIST as the parts train it; dry on digits."""
        runs = ["logger=csv", "progress=none", f"accelerator={self.accelerator}"]
        if self.dry:
            return [
                *runs, "data=digits", "data.fraction=0.1", "max_epochs=2", "data.num_workers=0",
                "backbone.kwargs.channels=[4,4,8,8]", "optimizer.batch_size=64",
            ]  # fmt: skip
        place = [f"data.train_path={self.fashion_mnist}"] if self.fashion_mnist else []
        return [
            *runs, *place, "data=fashion_mnist", "data.format=on_device", "precision=bf16-mixed",
            "optimizer.batch_size=512", "max_epochs=4", "scheduler.warmup_epochs=1",
        ]  # fmt: skip

    @property
    def accelerator(self) -> str:
        """Its name for Lightning."""
        return "gpu" if self.device == "cuda" else "cpu"


@dataclass(frozen=True)
class Verdict:
    """What a part found, beside its goal.

    Attributes:
        figure: what was measured, in a few words.
        reached: whether it reaches the goal; None if that cannot be said.
    """

    figure: str
    reached: bool | None = None


@dataclass(frozen=True)
class Part:
    """One part of the check.

    Attributes:
        name: its name for `--parts`.
        about: what it does.
        seconds: its limit.
        goal: what it should reach on an H100.
        measure: yields lines for the JSON file as it goes.
        verdict: reads the lines.
    """

    name: str
    about: str
    seconds: int
    goal: str
    measure: Callable[[Setting], Iterator[Line]]
    verdict: Callable[[Sequence[Line]], Verdict]


def write_lines(part: Part, setting: Setting) -> None:
    """Run a part in this process; write each line at once, and the error that ends it."""
    with (setting.out / f"{part.name}.jsonl").open("w", encoding="utf-8") as file:

        def write(line: Line) -> None:
            print(json.dumps(line), file=file, flush=True)

        start = time.perf_counter()
        try:
            for line in part.measure(setting):
                write(line)
        except BaseException as error:
            write({"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
            raise
        finally:
            write({"wall": round(time.perf_counter() - start, 2)})


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a part; a killed process may have left a piece of one."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for text in lines:
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            found.append({"error": "a line is cut"})
    return found


def start(target: Callable[..., None], *arguments: Any, log: Path) -> Any:
    """Run a function in a fork of this process, a group of its own that writes to `log`.

    A fork need not import torch again. This process must not have used the GPU before.
    """

    def become() -> None:
        os.setsid()
        faulthandler.register(signal.SIGUSR1, all_threads=True)  # see `end`
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a part's runs end with it
        with log.open("ab", buffering=0) as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
        target(*arguments)
        sys.stdout.flush()

    process = FORK.Process(target=become)
    process.start()
    return process


def end(process: Any, seconds: float) -> bool:
    """Wait for a process; kill its group at the limit. Return whether it was in time.

    One that is not leaves in its log where each of its threads stood.
    """
    process.join(seconds)
    in_time = process.exitcode is not None
    with contextlib.suppress(ProcessLookupError):
        if not in_time:
            os.kill(process.pid, signal.SIGUSR1)
            process.join(1)
        os.killpg(process.pid, signal.SIGKILL)  # what it may have started, in any case
    process.join()
    return in_time


def command(words: Sequence[str]) -> None:
    """Run `dyntemp WORDS` in this process."""
    from solo_registry.cli.main import main

    sys.argv = ["dyntemp", *words]
    main()


def run_command(words: Sequence[str], log: Path, seconds: float) -> None:
    """Run `dyntemp WORDS` in a process of its own.

    Raises:
        RuntimeError: it fails or does not end in time; the text is the end of its log.
    """
    process = start(command, words, log=log)
    if not end(process, seconds):
        raise RuntimeError(f"dyntemp {words[0]} did not end within {seconds:.0f} s; see {log}")
    if process.exitcode:
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise RuntimeError(f"dyntemp {words[0]} failed: {' | '.join(tail)}")


def synchronize(device: str) -> None:
    """Wait for the GPU."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def median_ms(run: Callable[[], Any], device: str, seconds: float) -> float:
    """Return the median milliseconds of a call, over about `seconds`, at least 3 calls.

    On a GPU by Triton's `do_bench`, which times by events and clears the cache between calls.
    """
    if device == "cuda":
        from triton.testing import do_bench

        return float(do_bench(run, warmup=seconds * 250, rep=seconds * 750, return_mode="median"))
    run()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        begin = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)
