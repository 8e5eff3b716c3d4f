"""Images per second and memory of every loader, on the same images and augmentation.

    python scripts/benchmark_data.py --out results
    python scripts/benchmark_data.py --size 96 --augmentations symmetric96 --images 1024

Each loader runs in a process of its own for some epochs; the median epoch counts, the first is
left out. Images per CPU second count the work of the process and its workers, whatever else the
machine does meanwhile. Memory is what they hold after each epoch. What fails is recorded, not
dropped. An image is one with all its views: two views of 1,000 images in a second are 1,000.
"""

from __future__ import annotations

import argparse
import atexit
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import solo_registry.configs
import torch
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, Dataset

from solo_registry.data.folder import FolderSet
from solo_registry.data.module import PretrainDataModule
from solo_registry.data.sets import SetInfo, TensorSet

CASES = {
    "pil": "PIL, torchvision's classes, as in solo-learn ({workers} workers)",
    "image_folder": "image_folder: one by one on tensors ({workers} workers)",
    "on_device": "on_device, CPU ({workers} workers)",
    "dali": "dali, CPU",
    "on_device-cuda": "on_device, GPU",
    "dali-cuda": "dali, GPU",
    "image_folder-jpeg": "image_folder, JPEG files ({workers} workers)",
    "dali-jpeg": "dali, JPEG files, CPU",
    "dali-jpeg-cuda": "dali, JPEG files, GPU",
}
IN_MEMORY = [case for case in CASES if "jpeg" not in case]


def made_up(count: int, size: int) -> TensorSet:
    """Smooth colour images from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    info = SetInfo("made up", 10, 3, size, (0.5,) * 3, (0.25,) * 3, tuple("abcdefghij"))
    return TensorSet(info, fine.mul(255).to(torch.uint8), torch.arange(count) % 10)


def as_files(images: TensorSet) -> FolderSet:
    """Write the images as JPEG files into a folder that lives as long as this process."""
    from PIL import Image

    root = Path(tempfile.mkdtemp(prefix="benchmark-data-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    names = [f"{number:06d}.jpg" for number in range(len(images))]
    for name, pixels in zip(names, images.images, strict=True):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(root / name, quality=90)
    return FolderSet(replace(images.info, image_size=None), root, names, images.targets, "raise")


class PilViews(Dataset[Any]):
    """Views by torchvision's classes on PIL images, the way of solo-learn's loader."""

    def __init__(self, images: TensorSet, augmentations: Any) -> None:
        import torchvision.transforms as T

        self.images, self.pipelines = images, []
        for keys in augmentations:
            rrc, jitter = keys.rrc, keys.color_jitter
            factors = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
            blur = keys.get("gaussian_blur", {"prob": 0.0})
            steps = [
                T.RandomResizedCrop(
                    keys.crop_size,
                    scale=(rrc.crop_min_scale, rrc.crop_max_scale),
                    interpolation=T.InterpolationMode.BICUBIC,
                ),
                T.RandomApply([T.ColorJitter(*factors)], p=jitter.prob),
                T.RandomGrayscale(p=keys.grayscale.prob),
                T.RandomApply([PilBlur()], p=blur["prob"]),
                T.RandomHorizontalFlip(p=keys.horizontal_flip.prob),
                T.ToTensor(),
                T.Normalize(images.info.mean, images.info.std),
            ]
            self.pipelines += [T.Compose(steps)] * keys.num_crops

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        from PIL import Image

        pixels, target = self.images[index]
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        return index, [pipeline(image) for pipeline in self.pipelines], target


class PilBlur:
    """Pillow's Gaussian blur of a width from 0.1 to 2 pixels."""

    def __call__(self, image: Any) -> Any:
        """Blur an image."""
        from PIL import ImageFilter

        return image.filter(ImageFilter.GaussianBlur(0.1 + 1.9 * torch.rand(()).item()))


def build(case: str, options: argparse.Namespace) -> Iterable[Any]:
    """Return the loader of one case."""
    images = made_up(options.images, options.size)
    (root,) = solo_registry.configs.__path__
    augmentations: Any = OmegaConf.load(Path(root) / f"augmentations/{options.augmentations}.yaml")
    if case == "pil":
        return DataLoader(
            PilViews(images, augmentations),
            options.batch,
            shuffle=True,
            num_workers=options.workers,
            drop_last=True,
            persistent_workers=options.workers > 0,
        )
    form, *words = case.split("-")
    device = "cuda" if "cuda" in words else "cpu"
    cfg = OmegaConf.create(
        {
            "seed": 0,
            "augmentations": augmentations,
            "optimizer": {"batch_size": options.batch},
            "data": {"format": form, "num_workers": options.workers},
        }
    )
    module = PretrainDataModule(cfg, as_files(images) if "jpeg" in words else images, None)
    module._device = lambda: torch.device(device)  # type: ignore[method-assign]
    return module.train_dataloader()


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one case in this process; return a number for each epoch."""
    torch.set_num_threads(options.threads)
    loader: Any = build(options.worker, options)
    speeds, frugality, memory = [], [], []
    for epoch in range(options.epochs + 1):
        if hasattr(loader.sampler, "set_epoch"):
            loader.sampler.set_epoch(epoch)
        start, used, seen = time.perf_counter(), cpu_seconds(), 0
        for indexes, _, _ in loader:
            seen += len(indexes)
        if options.worker.endswith("cuda"):
            torch.cuda.synchronize()
        speeds.append(seen / (time.perf_counter() - start))
        frugality.append(seen / max(1e-9, cpu_seconds() - used))
        memory.append(resident())
    found = {"images_per_second": speeds, "images_per_cpu_second": frugality, "mb": memory}
    return {name: values[1:] for name, values in found.items()}


def processes() -> list[Path]:
    """Return what Linux tells about this process and its workers."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    return [Path(f"/proc/{pid}") for pid in pids]


def cpu_seconds() -> float:
    """Return the CPU time of this process and its workers so far."""
    stats = [(place / "stat").read_text().rpartition(")")[2].split() for place in processes()]
    ticks = sum(int(stat[11]) + int(stat[12]) for stat in stats)  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def resident() -> float:
    """Return the MB that this process and its workers hold."""
    pages = sum(int((place / "statm").read_text().split()[1]) for place in processes())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def in_own_process(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one case in a process of its own; return what it measured, or its error."""
    if case.endswith("cuda") and not torch.cuda.is_available():
        return {"error": "no GPU"}
    command = [sys.executable, __file__, "--worker", case]
    for name in ("images", "size", "batch", "augmentations", "workers", "threads", "epochs"):
        command += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"error": lines[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    tail = found["mb"][len(found["mb"]) // 2 :]
    return found | {
        "median": statistics.median(found["images_per_second"]),
        "per_cpu_second": statistics.median(found["images_per_cpu_second"]),
        "growth_mb": tail[-1] - tail[0],
    }


def table(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """Return a Markdown table, one row for each case."""
    pil = results.get("pil", {})
    lines = [
        "| loader | images/s (slowest to fastest epoch) | times PIL | images per CPU second "
        "| times PIL | MB held | growth, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, found in results.items():
        label = CASES[case].format(workers=options.workers)
        if "error" in found:
            lines.append(f"| {label} | {found['error']} | - | - | - | - | - |")
            continue
        speeds = found["images_per_second"]
        times, cpu_times = (
            f"{found[key] / pil[key]:.1f}" if key in pil else "-"
            for key in ("median", "per_cpu_second")
        )
        span = f"{min(speeds):,.0f} to {max(speeds):,.0f}"
        lines.append(
            f"| {label} | {found['median']:,.0f} ({span}) | {times} "
            f"| {found['per_cpu_second']:,.0f} | {cpu_times} "
            f"| {found['mb'][-1]:,.0f} | {found['growth_mb']:+.0f} |"
        )
    return "\n".join(lines)


def plot_speeds(
    results: dict[str, dict[str, Any]], options: argparse.Namespace, path: Path
) -> None:
    """Draw speed and memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    labels = {case: text.format(workers=options.workers) for case, text in CASES.items()}
    shown = {case: found for case, found in results.items() if "error" not in found}
    for place, (case, found) in enumerate(shown.items()):
        axes[0].barh(place, found["median"], color=f"C{place}")
        axes[0].text(found["median"], place, f" {found['median']:,.0f}", va="center", fontsize=8)
        axes[1].plot(
            range(1, len(found["mb"]) + 1), found["mb"], label=labels[case], color=f"C{place}"
        )
    axes[0].set_yticks(
        range(len(shown)),
        [CASES[case].format(workers=options.workers) for case in shown],
        fontsize=7,
    )
    axes[0].invert_yaxis()
    axes[0].margins(x=0.15)
    axes[0].set_title(f"images/s, {options.size} pixels, batch {options.batch}", fontsize=9)
    axes[1].set(xlabel="epoch", ylim=(0, None))
    axes[1].set_title("memory held, MB", fontsize=9)
    axes[1].legend(fontsize=6)
    figure.savefig(path, dpi=120)


def versions() -> dict[str, str]:
    """Return the versions that the numbers depend on."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("torchvision", "pillow", "nvidia-dali-cuda130"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=IN_MEMORY)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--augmentations", default="symmetric32", help="a group option")
    parser.add_argument("--workers", type=int, default=2, help="processes, or DALI's threads")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, help="folder for data.json and data.png")
    parser.add_argument("--worker", choices=list(CASES), help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure and print."""
    options = arguments().parse_args()
    if options.worker:
        print(json.dumps(measured(options)))
        return
    results = {}
    for case in options.cases:
        results[case] = in_own_process(case, options)
        print(f"{case} done", file=sys.stderr, flush=True)
    names = ("images", "size", "batch", "augmentations", "workers", "threads", "epochs")
    about = {name: getattr(options, name) for name in names}
    about |= {"cores": os.cpu_count(), **versions()}
    print(f"{about}\n\n{table(results, options)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"about": about, "results": results}, indent=1)
        (options.out / "data.json").write_text(text + "\n", encoding="utf-8")
        plot_speeds(results, options, options.out / "data.png")


if __name__ == "__main__":
    main()
