"""What each elementwise temperature costs in the Triton kernels, relative to the cosine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import torch
from benchmark_temperatures import CURVES, step

from gpu_parts.common import Line, Part, Setting, Verdict, end, median_ms, start
from gpu_parts.loss import embeddings

LIMIT = 1.15  # of the cosine's time
ROWS = (32_768, 65_536)
# precision, detached: the default and the fastest, then with the gradient of τ
MODES = (("highest", True), ("medium", True), ("highest", False), ("medium", False))
ROUNDS = 3


def timed(name: str, precision: str, detach: bool, rows: int, device: str, seconds: float) -> float:
    """Return the milliseconds of a temperature's loss, forward and backward, D = 128."""
    z = embeddings(rows, device)
    implementation = "triton" if device == "cuda" else "tiled"
    torch.set_float32_matmul_precision(precision)
    return median_ms(step(CURVES[name](), detach, z, implementation), device, seconds)


def compiled(name: str, rows: int, device: str) -> None:
    """Run each mode once, so that Triton has the kernels on disk."""
    for precision, detach in MODES:
        timed(name, precision, detach, rows, device, 0)


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each mode, number of rows, round and temperature."""
    rows, seconds = ((64,), 0.01) if setting.dry else (ROWS, 0.15)
    log = setting.out / "temperatures-compile.log"
    if not setting.dry:
        processes = [start(compiled, name, rows[0], setting.device, log=log) for name in CURVES]
        for process in processes:
            end(process, 60)
    for count in rows:
        for precision, detach in MODES:
            mode: Line = {"rows": count, "precision": precision, "detached": detach}
            for turn in range(ROUNDS):
                for name in CURVES:
                    ms = timed(name, precision, detach, count, setting.device, seconds)
                    yield mode | {"round": turn, "temperature": name, "ms": ms}
    torch.set_float32_matmul_precision("highest")


def ratios(lines: Sequence[Line]) -> dict[tuple[int, str, bool, str], float]:
    """Return each temperature's time over the cosine's of its round, the median of the rounds."""
    times = {
        (line["rows"], line["precision"], line["detached"], line["temperature"], line["round"]):
        line["ms"]
        for line in lines
    }  # fmt: skip
    found: dict[tuple[int, str, bool, str], list[float]] = {}
    for (*mode, name, turn), ms in times.items():
        if cosine := times.get((*mode, "cosine", turn)):
            found.setdefault((*mode, name), []).append(ms / cosine)
    return {key: median(values) for key, values in found.items()}


def verdict(lines: Sequence[Line]) -> Verdict:
    """The dearest temperature of all modes counts."""
    found = ratios(lines)
    key = max(found, key=found.__getitem__)
    rows, precision, detached, name = key
    how = "detached" if detached else "with its gradient"
    figure = f"{len(found)} ratios; the largest is {name}'s, {found[key]:.2f} ({rows} rows, "
    return Verdict(f"{figure}{precision}, {how})", found[key] <= LIMIT)


PART = Part(
    "temperatures",
    "each elementwise temperature in the kernels against the cosine, 32,768 and 65,536 rows",
    100,
    f"<= {LIMIT} x the cosine's time",
    measure,
    verdict,
)
