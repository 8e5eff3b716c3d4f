"""The best shape of our kernels' tiles: each kernel, each precision, over many shapes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch

from gpu_parts.common import FORK, Line, Part, Setting, Verdict, median_ms

ROWS, FEW = 32_768, 4_096
KERNELS = ("log_sum_exp", "gradient")
PROCESSES = 16
# own rows, other rows, warps, dimensions at once, stages of the pipeline
SIZES = tuple(product((64, 128), (32, 64, 128), (4, 8)))
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "bf16": [(*size, 128, stages) for size in SIZES for stages in (3, 4)],
    "tf32": [(*size, step, 3) for size in SIZES for step in (128, 32) if size[1] < 128],
    "tf32x3": [(*size, step, 3) for size in SIZES for step in (128, 64, 32) if size[1] < 128],
}
Case = tuple[str, str, tuple[int, ...]]
CASES: list[Case] = [
    (kernel, precision, shape)
    for precision, shapes in SHAPES.items() for kernel in KERNELS for shape in shapes
]  # fmt: skip


@contextlib.contextmanager
def shaped(shape: tuple[int, ...]) -> Iterator[None]:
    """Give the kernels' programs a shape."""
    from solo_dyntemp.losses.kernels import triton

    usual = triton.shape_of
    triton.shape_of = lambda *_: triton.Shape(*shape)
    try:
        yield
    finally:
        triton.shape_of = usual


def launch(case: Case, rows: int) -> Any:
    """Return a function that launches the kernel of a case once."""
    from solo_dyntemp.losses.kernels import triton
    from solo_dyntemp.losses.kernels.settings import KernelSettings
    from solo_dyntemp.temperature import CosineTemperature

    kernel, precision, shape = case
    z = torch.randn(rows, 128, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    z = torch.nn.functional.normalize(z)
    z = z.bfloat16() if precision == "bf16" else z
    settings = KernelSettings(CosineTemperature(0.1, 0.2), detach=True, block=1)
    sums, upstream = torch.full((rows,), 11.0, device="cuda"), torch.ones(rows, device="cuda")

    def run() -> torch.Tensor:
        with shaped(shape):
            if kernel == "log_sum_exp":
                return triton._log_sums(z, z, settings, precision)
            parts = "anchor", "candidate"
            return triton._gradient(z, z, sums, upstream, settings, precision, *parts)

    return run


def compile_some(cases: Sequence[Case]) -> None:
    """Compile the kernels of some cases into Triton's cache on disk."""
    for case in cases:
        with contextlib.suppress(Exception):  # too large, say: measure() finds it again
            launch(case, FEW)()
    torch.cuda.synchronize()


def measure(setting: Setting) -> Iterator[Line]:
    """Yield the time of each kernel with each shape; first they are compiled, many at a time."""
    if setting.dry:
        yield {"left_out": "needs a GPU"}
        return
    workers = [
        FORK.Process(target=compile_some, args=(CASES[start::PROCESSES],))
        for start in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    until = time.monotonic() + 55
    for worker in workers:
        worker.join(max(0, until - time.monotonic()))
        worker.kill()
    for case in CASES:
        line: Line = dict(zip(("kernel", "precision", "shape"), case, strict=True))
        try:
            line["ms"] = median_ms(launch(case, ROWS), "cuda", 0.06)
        except Exception as error:
            line["failed"] = f"{type(error).__name__}: {str(error)[:100]}"
        yield line


def verdict(lines: Sequence[Line]) -> Verdict:
    """Name the best of each kernel and precision."""
    if "left_out" in lines[0]:
        return Verdict(lines[0]["left_out"])
    best: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = line["precision"], line["kernel"]
        if "ms" in line and line["ms"] < best.get(key, {"ms": float("inf")})["ms"]:
            best[key] = line
    parts = (f"{' '.join(key)} {line['shape']} {line['ms']:.2f} ms" for key, line in best.items())
    return Verdict("; ".join(parts))


PART = Part(
    "shapes",
    f"each kernel with many shapes of its tiles, {ROWS:,} rows, D = 128",
    110,
    "the shapes in the package are the best",
    measure,
    verdict,
)
