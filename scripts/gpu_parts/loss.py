"""Time, memory and error of the loss over the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from loss_cases import exact, step

from gpu_parts.common import Line, Part, Setting, Verdict, median_ms

ROWS = (65_536, 2_048, 8_192, 16_384, 131_072, 4_096, 32_768)  # the goal's first
CASES = (
    "triton@medium", "triton@high", "triton", "fixed@medium", "fixed@high", "fixed", "tiled@high",
    "tiled", "floor@medium", "floor@high", "floor", "lightly", "dense", "flex", "flex@high",
    "compiled",
)  # fmt: skip
SLOW_TO_COMPILE = ("flex", "flex@high", "compiled")  # for each number of rows, so for two of them
EXACT = 8_192  # most rows that are compared with double
H100_FLOAT32 = 66.9e12  # operations a second, of NVIDIA's data sheet (SXM)


def embeddings(rows: int, device: str) -> torch.Tensor:
    """Return views of rows / 2 images that are more like each other than like the rest."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows // 2, 128, generator=generator)
    views = torch.cat([z, z + torch.randn(rows // 2, 128, generator=generator)])
    return views.to(device).requires_grad_()


def measured(case: str, z: torch.Tensor, device: str, seconds: float) -> Line:
    """Return milliseconds, memory over the inputs, and loss and gradient of a case."""
    line: Line = {"case": case, "rows": len(z)}
    try:
        run = step(case, len(z) // 2, z)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        value = run()
        if device == "cuda":
            torch.cuda.synchronize()
            line["mb"] = (torch.cuda.max_memory_allocated() - before) / 1e6
        line["ms"] = median_ms(run, device, seconds)
        if not case.startswith(("floor", "lightly", "fixed")) and len(z) <= EXACT:
            loss, gradient = exact(len(z) // 2, z)
            assert z.grad is not None
            line["loss_error"] = float((value.double() - loss).abs() / loss)
            if device == "cuda" or not case.startswith("flex"):
                line["gradient_error"] = float((z.grad - gradient).norm() / gradient.norm())
    except Exception as error:  # the others go on
        line["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
    return line


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each case and number of rows."""
    cases, rows, seconds = CASES, ROWS, 0.3
    if setting.dry:  # inductor takes a minute on a CPU
        cases, rows, seconds = (
            ("tiled@medium", "tiled", "fixed", "flex", "floor", "lightly"),
            (64,),
            0.02,
        )
    lost: dict[str, int] = {}  # case -> the fewest rows at which it failed
    for count in rows:
        for case in cases:
            if count >= lost.get(case, count + 1):
                continue
            if case in SLOW_TO_COMPILE and count not in (rows[0], EXACT):
                continue
            z = embeddings(count, setting.device)
            line = measured(case, z, setting.device, seconds)
            if "failed" in line:
                lost[case] = count if "memory" in line["failed"] else min(rows) + 1
            yield line
            if setting.device == "cuda":
                del z
                torch.cuda.empty_cache()
    torch.set_float32_matmul_precision("highest")


def verdict(lines: Sequence[Line]) -> Verdict:
    """Compare 65,536 rows with the goal."""
    found = {
        line["case"]: line for line in lines if line["rows"] == ROWS[0] and "shape" not in line
    }
    times = {case: line["ms"] for case, line in found.items() if "ms" in line}
    if not times:
        return Verdict(f"{sum('ms' in line for line in lines)} of {len(lines)} cases ran")
    best = min((case for case in times if case.startswith("triton@")), key=times.__getitem__)
    fixed = times[best.replace("triton", "fixed")]
    peak = 3 * 2 * ROWS[0] ** 2 * 128 / H100_FLOAT32 * 1e3
    memory = found[best]["mb"]
    figure = (
        f"{best} {times[best]:.1f} ms, {memory:.0f} MB, {times[best] / fixed:.2f} x fixed; highest "
        f"{times['triton']:.1f} ms, {times['triton'] / peak:.2f} x its peak; "
        + ", ".join(f"{case} {ms:.1f} ms" for case, ms in times.items() if "triton" not in case)
    )
    good = times[best] <= 15 and memory < 100 and times[best] <= 1.1 * fixed
    return Verdict(figure, good and times["triton"] <= 1.3 * peak)


PART = Part(
    "loss",
    "2,048 to 131,072 rows, D = 128, cosine: time, memory, error of each candidate",
    120,
    "65,536 rows: <= 15 ms, < 100 MB, <= 1.1 x fixed tau; highest <= 1.3 x fp32 peak",
    measure,
    verdict,
)
