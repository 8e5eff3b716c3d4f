"""Open and read shards of many small images: seconds, memory and images per second.

The images are noise as PNG files, written as shards and, at most --files of them, as a folder too.
Each is then opened in a process of its own.

    python scripts/benchmark_shards.py --images 1000000 --out /tmp/shards
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from solo_registry.catalog.plugins import load_plugins
from solo_registry.data.sets import load_set
from solo_registry.export.pack_data import write_shards

CLASSES = [f"{number:03d}" for number in range(100)]
READ = 20_000  # images that are read, in random order


def encoded(images: int, size: int) -> Iterator[bytes]:
    """Yield PNG files; 1,000 different ones take turns, so that writing is quick."""
    noise, files = np.random.default_rng(0), []
    for _ in range(min(images, 1000)):
        file = io.BytesIO()
        Image.fromarray(noise.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(file, "PNG")
        files.append(file.getvalue())
    for index in range(images):
        yield files[index % len(files)]


def write(args: argparse.Namespace) -> None:
    """Write the shards and the folder, unless they are there."""
    if not (args.out / "shards").exists():
        (args.out / "shards").mkdir(parents=True)
        columns = {"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)}
        rows = (
            {"image": {"bytes": content, "path": ""}, "label": index % len(CLASSES)}
            for index, content in enumerate(encoded(args.images, args.size))
        )
        schema = datasets.Features(columns).arrow_schema
        write_shards(rows, args.out / "shards", "train", schema, 256 * 2**20)
    if not (args.out / "folder").exists():
        for name in CLASSES:
            (args.out / "folder" / name).mkdir(parents=True)
        for index, content in enumerate(encoded(min(args.files, args.images), args.size)):
            folder = args.out / "folder" / CLASSES[index % len(CLASSES)]
            (folder / f"{index}.png").write_bytes(content)


def measure(kind: str, path: str, answer: Any) -> None:
    """Open a set and read some of it."""
    load_plugins()
    before, start = own_memory(), time.perf_counter()
    images = load_set(SimpleNamespace(dataset=kind, train_path=path, check_files=False), "train")
    assert images is not None
    digest = images.digest()
    opened = time.perf_counter() - start
    order = np.random.default_rng(0).permutation(len(images))[:READ].tolist()
    start = time.perf_counter()
    for index in order:
        images[index]
    speed = len(order) / (time.perf_counter() - start)
    answer.send((len(images), opened, own_memory() - before, speed, digest))


def own_memory() -> float:
    """Return this process's memory in MB, without the pages of mapped files, which it can drop."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def main() -> None:
    """Write what is missing, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=50_000, help="at most so many in the folder")
    parser.add_argument("--size", type=int, default=16, help="height and width in pixels")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write(args)
    table = Table("set", "images", "opened and hashed (s)", "more memory (MB)", "images/s")
    for kind, name in (("hf", "shards"), ("custom", "folder")):
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=measure, args=(kind, str(args.out / name), theirs))
        process.start()
        theirs.close()
        count, opened, memory, speed, _ = ours.recv()
        process.join()
        table.add_row(name, f"{count:,}", f"{opened:.1f}", f"{memory:.0f}", f"{speed:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
