"""Images per second of the loaders, at 32 and at 224 pixels."""

from __future__ import annotations

import importlib.util
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import benchmark_data

from gpu_parts.common import Line, Part, Setting, Verdict, end, start

VIEWS = 2  # of an image
# case, images, pixels, augmentation, batch
CASES = (
    ("on_device-cuda", 60_000, 32, "symmetric32", 512),
    ("image_folder-jpeg", 2_048, 224, "symmetric224", 256),
    ("dali-jpeg-cuda", 2_048, 224, "symmetric224", 256),
    ("dali-cuda", 16_384, 32, "symmetric32", 512),
    ("image_folder", 16_384, 32, "symmetric32", 512),
)
DRY = (
    ("on_device", 64, 32, "symmetric32", 16),
    ("image_folder-jpeg", 16, 32, "symmetric32", 8),
    ("dali-jpeg", 16, 32, "symmetric32", 8),
)


def write_measured(words: list[str], path: Path) -> None:
    """Measure one case in this process and write the result to `path`."""
    found = benchmark_data.measured(benchmark_data.arguments().parse_args(words))
    path.write_text(json.dumps(found), encoding="utf-8")


def measure(setting: Setting) -> Iterator[Line]:
    """Yield a line for each loader."""
    workers, epochs = (0, 1) if setting.dry else (16, 3)
    for case, images, size, augmentation, batch in DRY if setting.dry else CASES:
        line: Line = {"case": case, "images": images, "pixels": size, "batch": batch}
        if "dali" in case and importlib.util.find_spec("nvidia.dali") is None:
            yield line | {"failed": "DALI is not installed"}
            continue
        words = [
            f"--worker={case}", f"--images={images}", f"--size={size}", f"--batch={batch}",
            f"--augmentations={augmentation}", f"--epochs={epochs}", f"--workers={workers}",
            "--threads=1",
        ]  # fmt: skip
        path, log = setting.out / f"loader-{case}.json", setting.out / f"loader-{case}.log"
        process = start(write_measured, words, path, log=log)
        if not end(process, 30):
            yield line | {"failed": "did not end within 30 s"}
        elif process.exitcode:
            yield line | {"failed": log.read_text(errors="replace").strip().splitlines()[-1][:300]}
        else:
            found = json.loads(path.read_text(encoding="utf-8"))
            median = statistics.median(found["images_per_second"])
            yield line | {"views_per_second": VIEWS * median} | found


def verdict(lines: Sequence[Line]) -> Verdict:
    """The views made on the GPU must not be what training waits for."""
    parts = [
        f"{line['case']} {line['pixels']} px "
        + (f"{line['views_per_second']:,.0f} views/s" if "failed" not in line else line["failed"])
        for line in lines
    ]
    (views,) = (line.get("views_per_second", 0) for line in lines if line["case"].startswith("on_"))
    return Verdict("; ".join(parts), views >= 100_000)


PART = Part(
    "loader",
    "views/s of on_device, image_folder (16 workers) and DALI where it is installed",
    90,
    "on_device >= 100,000 views/s at 32 px",
    measure,
    verdict,
)
