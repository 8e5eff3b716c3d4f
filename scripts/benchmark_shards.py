"""Open and read shards of many small images: seconds, memory and images per second.

The images are noise as PNG files, written as shards and, at most --files of them, as a folder and
as Parquet too. Each is then opened in a process of its own. The Parquet files are streamed from the
disk, by us and by the library datasets, each from a buffer of 16,384 images.

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
from solo_registry.data.sampling import WINDOW, EpochSampler
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

    if not (args.out / "parquet").exists():
        shard = datasets.Dataset.from_file(str(next((args.out / "shards").glob("*.arrow"))))
        rows = shard.select(range(min(args.files, len(shard))))
        for part in range(4):
            name = f"train-{part:05d}-of-00004.parquet"
            rows.shard(4, part).to_parquet(str(args.out / "parquet" / name), batch_size=100)


def measure_theirs(kind: str, path: str, answer: Any) -> None:
    """Stream a set as the library does, to the same tensors."""
    from solo_registry.data.pixels import decode

    before, start = own_memory(), time.perf_counter()
    rows = datasets.load_dataset(path, split="train", streaming=True)
    rows = rows.cast_column("image", datasets.Image(decode=False)).shuffle(0, buffer_size=WINDOW)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    count = 0
    for row in rows:
        decode(io.BytesIO(row["image"]["bytes"]), 3)
        count += 1
        if count == READ:
            break
    speed = count / (time.perf_counter() - start)
    answer.send((count, opened, own_memory() - before, speed, ""))


def measure(kind: str, path: str, answer: Any) -> None:
    """Open a set and read some of it."""
    load_plugins()
    before, start = own_memory(), time.perf_counter()
    keys = {"dataset": kind, "train_path": path, "check_files": False}
    if path.endswith("parquet"):
        keys["streaming"] = True
    images = load_set(SimpleNamespace(**keys), "train")
    assert images is not None
    digest = images.digest()
    opened = time.perf_counter() - start
    sampler = EpochSampler(len(images), seed=0, blocks=images.blocks, window=WINDOW)
    order = [index for _, index in sampler][:READ]
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
    datasets.disable_progress_bars()
    write(args)
    table = Table("set", "images", "opened and hashed (s)", "more memory (MB)", "images/s")
    parts = (
        ("hf", "shards", measure), ("custom", "folder", measure), ("hf", "parquet", measure),
        ("datasets' own streaming", "parquet", measure_theirs),
    )  # fmt: skip
    for kind, name, measured in parts:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=measured, args=(kind, str(args.out / name), theirs))
        process.start()
        theirs.close()
        count, opened, memory, speed, _ = ours.recv()
        process.join()
        cells = f"{count:,}", f"{opened:.1f}", f"{memory:.0f}", f"{speed:,.0f}"
        table.add_row(f"{name}, {kind}", *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
