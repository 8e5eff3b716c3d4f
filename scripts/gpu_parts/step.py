"""A step of simclr_dyntemp against simclr's, and what a compiled backbone would change."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import benchmark_step

from gpu_parts.common import Line, Part, Setting, Verdict

CASES = (
    ("resnet18", "--backbone=resnet18", "--batch=512", "--size=32"),
    ("resnet50", "--backbone=resnet50", "--batch=256", "--size=224"),
    ("resnet18 compiled", "--backbone=resnet18", "--batch=512", "--size=32", "--compile"),
    (
        "resnet18 CUDA graphs", "--backbone=resnet18", "--batch=512", "--size=32",
        "--compile=reduce-overhead",
    ),
)  # fmt: skip
NOISE = 0.02  # of a ratio of medians


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each network."""
    cases = CASES
    more = ["--bf16", "--repeats=40", "--warmup=10", f"--device={setting.device}"]
    if setting.dry:
        cases = (("resnet18", "--backbone=resnet18", "--batch=4", "--size=8"),)
        more = ["--bf16", "--repeats=2", f"--device={setting.device}"]
    for name, *words in cases:
        line: Line = {"case": name}
        try:
            found = benchmark_step.compare(benchmark_step.arguments().parse_args([*words, *more]))
            for key in ("seconds", "asked"):
                line |= {
                    f"{method} {key}": statistics.median(times)
                    for method, times in found[key].items()
                }
            line |= found["ratios"] | {"all": found["seconds"]}
        except Exception as error:
            line["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
        yield line


def verdict(lines: Sequence[Line]) -> Verdict:
    """The dynamic temperature must not make a step slower."""
    parts, good = [], True
    for line in lines:
        if "failed" in line:
            parts.append(f"{line['case']} {line['failed']}")
            continue
        step, host = (1e3 * line[f"simclr_dyntemp {key}"] for key in ("seconds", "asked"))
        parts.append(f"{line['case']} {step:.1f} ms (host {host:.1f}), ratio {line['pairs']:.3f}")
        good = good and line["pairs"] <= 1 + NOISE
    return Verdict("; ".join(parts), good and bool(lines))


PART = Part(
    "step",
    "simclr_dyntemp / simclr: ResNet-18 (32 px, 512) and ResNet-50 (224 px, 256), bf16",
    90,
    f"ratio <= 1.00 + {NOISE}",
    measure,
    verdict,
)
