"""Streamed sets: against the same files read from the disk, over a server that may fail."""

from __future__ import annotations

import pickle
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import tiny_config
from torch.utils.data import DataLoader

from solo_registry.data import streamed
from solo_registry.data.folder import FolderSet
from solo_registry.data.module import build_data
from solo_registry.data.sampling import EpochSampler
from solo_registry.data.sets import ImageSet, copied, hold_out, load_set, with_info
from solo_registry.data.streamed import StreamedFiles
from solo_registry.errors import Unreachable, UserError
from solo_registry.jobs.pretrain import pretrain

datasets = pytest.importorskip("datasets", reason="datasets is not installed")
ROWS, GROUP = 60, 5


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a cache of its own, and let it wait for nothing."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(streamed, "WAITS", (0.0, 0.0))
    datasets.disable_progress_bars()
    streamed._kept.cache_clear()
    return tmp_path / "cache" / "dyntemp_blocks"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of Parquet files: train in three files of four row groups, test in one."""
    noise = np.random.default_rng(0)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cat"])}
    )
    for split, count, parts in (("train", ROWS, 3), ("test", 6, 1)):
        pixels = noise.integers(0, 256, (count, 12, 14, 3), dtype=np.uint8)
        rows = datasets.Dataset.from_dict(
            {
                "image": [Image.fromarray(one) for one in pixels],
                "label": [i % 3 for i in range(count)],
            },
            features=features,
        )
        for part in range(parts):
            shard = rows.shard(parts, part, contiguous=True)
            name = f"{split}-{part:05d}-of-{parts:05d}.parquet"
            shard.to_parquet(str(tmp_path / "set" / name), batch_size=GROUP)
    return tmp_path / "set"


class Server(ThreadingHTTPServer):
    """Serves a folder, with ranges, as the stores of the net do; it can be told to fail."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.failures, self.reads = folder, 0, 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        data = (self.server.folder / self.path.strip("/").partition("?")[0]).read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.command == "GET":
            self.server.reads += 1
            if self.server.failures:
                self.server.failures -= 1
                self.send_error(503)
                return
        first, last = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data))
        part = data[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(files: Path) -> Iterator[Server]:
    with Server(files) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.05,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def load(split: Any = "train", **data: Any) -> ImageSet:
    keys = {"dataset": "hf", "streaming": True, "check_files": False, **data}
    images = load_set(SimpleNamespace(**keys), split)
    assert images is not None
    return images


def same(images: ImageSet, other: ImageSet) -> bool:
    assert images.targets.equal(other.targets) and images.info.class_names == other.info.class_names
    return all(images[i][0].equal(other[i][0]) for i in range(len(images)))


def test_the_images_are_those_of_the_same_files_read_from_disk(files: Path) -> None:
    for split in ("train", "val"):
        there = load(split, train_path=str(files), streaming=False)
        assert same(load(split, train_path=str(files)), there)
    assert same(load(train_path=str(files / "train-*.parquet")), load(train_path=str(files)))


def test_an_address_gives_the_images_of_the_file(files: Path, server: Server) -> None:
    name = "train-00001-of-00003.parquet"
    images = load(train_path=server.url(name))
    assert same(images, load(train_path=str(files / name), streaming=False))
    assert same(images, load(train_path=server.url(f"{name}?download=true")))
    assert isinstance(images, StreamedFiles)
    assert str(images.path(3)).endswith(f"{name}/row 3") and "//" not in str(images.path(3))
    other = load(
        "val", train_path=server.url(name), val_path=server.url("test-00000-of-00001.parquet")
    )
    assert same(other, load("val", train_path=str(files), streaming=False))
    before = server.reads
    assert same(images, images) and server.reads == before  # all blocks are kept by now


def test_nothing_but_labels_is_fetched_before_an_image_is(server: Server, cache: Path) -> None:
    name = "train-00000-of-00003.parquet"
    images = load(train_path=server.url(name))
    assert images.digest() == load(train_path=str(server.folder / name)).digest()
    assert not cache.exists()
    images[7]
    assert len(list(cache.glob("*.arrow"))) == 1


def test_the_digest_follows_rows_and_labels(files: Path, tmp_path: Path) -> None:
    digest = load(train_path=str(files)).digest()
    assert load(train_path=str(files), no_labels=True).digest() != digest
    (files / "train-00002-of-00003.parquet").unlink()
    assert load(train_path=str(files)).digest() != digest


def test_a_part_of_the_images_keeps_their_blocks(files: Path) -> None:
    """Selection, hold-out, copies and other statistics: else all would be shuffled in silence."""
    images = load(train_path=str(files), fraction=0.5)
    kept, held = hold_out(with_info(images, images.info), 0.2)
    for part in (images, kept, held, copied(kept, 2)):
        rows = [int(str(part.path(i)).rpartition(" ")[2]) for i in range(len(part))]  # type: ignore[attr-defined]
        assert part.blocks is not None and part.blocks.tolist() == [row // GROUP for row in rows]
    assert len(kept) + len(held) == len(images) == ROWS // 2
    assert load(train_path=str(files), streaming=False).blocks is None


def test_a_set_goes_to_another_process(files: Path) -> None:
    images = load(train_path=str(files))
    assert same(pickle.loads(pickle.dumps(images)), images)


def test_the_cache_keeps_to_its_limit_and_the_images_stay_right(files: Path, cache: Path) -> None:
    there = load(train_path=str(files), streaming=False)
    load(train_path=str(files))[0]
    (one,) = cache.glob("*.arrow")
    most = 3.5 * one.stat().st_size
    images = load(train_path=str(files), stream_cache_gb=most / 1e9)
    for index in torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)).tolist():
        streamed._kept.cache_clear()
        assert images[index][0].equal(there[index][0])
        kept = list(cache.glob("*.arrow"))
        assert sum(file.stat().st_size for file in kept) <= most and len(kept) <= 3
    assert not list(cache.glob(".*arrow*"))  # nothing half-written


def test_processes_that_want_a_block_fetch_it_once(server: Server) -> None:
    images = load(train_path=server.url("train-00000-of-00003.parquet"))
    images[0]
    server.reads = 0
    images[GROUP]
    once, server.reads = server.reads, 0
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(images.__getitem__, [2 * GROUP] * 8))
    assert server.reads == once > 0


def test_a_server_that_fails_for_a_moment_is_asked_again(server: Server) -> None:
    images = load(train_path=server.url("train-00000-of-00003.parquet"))
    server.failures = len(streamed.WAITS)
    images[0]
    assert server.failures == 0


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_server_that_is_gone_is_no_fault_of_an_image(server: Server, on_error: str) -> None:
    name = "train-00000-of-00003.parquet"
    images = load(train_path=server.url(name), on_error=on_error)
    server.failures = 1000
    with pytest.raises(Unreachable, match=rf"cannot read http.*{name}, row group 1: .*503"):
        images[GROUP]
    assert isinstance(images, FolderSet) and not images.unreadable
    server.failures = 0
    assert same(images, load(train_path=str(server.folder / name), streaming=False))


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="loaders do not fork there")
def test_a_forked_loader_reads_and_tells_what_it_cannot(server: Server) -> None:
    """The parent has used the net before; a client's thread does not live on in a child."""
    images = load(train_path=server.url("train-00000-of-00003.parquet"))
    images[0]
    keys = {"num_workers": 1, "batch_size": None, "multiprocessing_context": "fork"}
    found = [index for index, _ in enumerate(DataLoader(images, **keys))]
    assert found == [*range(ROWS // 3)]
    other = load(train_path=server.url("train-00001-of-00003.parquet"))
    server.failures = 1000
    with pytest.raises(Unreachable, match=r"^cannot read http.*row group 0: .*503"):
        next(iter(DataLoader(other, **keys)))


def test_a_broken_image_is_left_out_as_in_a_folder(files: Path) -> None:
    rows = datasets.Dataset.from_dict(
        {"image": [{"bytes": b"no image", "path": None}] * 2, "label": [0, 1]},
        features=datasets.Features.from_arrow_schema(
            load(train_path=str(files)).rows.features.arrow_schema  # type: ignore[attr-defined]
        ),
    )
    rows.to_parquet(str(files / "train-00003-of-00003.parquet"))
    images = load(train_path=str(files), on_error="skip")
    with pytest.warns(UserWarning, match="row 60 .*the next image replaces it"):
        assert images[ROWS][0].equal(images[0][0])
    assert images.unreadable == {ROWS, ROWS + 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"train_path": "http://127.0.0.1:9/a.parquet"}, "cannot open 127.0.0.1:9/a.parquet"),
        ({"train_path": "{files}/gone.parquet"}, "cannot open .*gone.parquet"),
        ({"train_path": "{files}/../photos/ant/a.png"}, "cannot read .*a.png: Parquet magic bytes"),
        ({"train_path": "{files}/../photos"}, "reads Parquet files, .*photos has .*png"),
        (
            {"train_path": "{files}", "streaming": False, "shuffle_window": 3},
            "needs data.streaming",
        ),
        ({"train_path": "http://a/b.parquet", "streaming": False}, "is an address: data.streaming"),
    ],
)
def test_what_cannot_be_streamed_is_told(files: Path, data: Any, told: str) -> None:
    for name in ("ant", "bee"):
        (files.parent / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(files.parent / "photos" / name / "a.png")
    data["train_path"] = data["train_path"].format(files=files)
    with pytest.raises(UserError, match=told):
        load(**data)


def orders(world_size: int, window: int, epoch: int = 2) -> list[list[int]]:
    blocks = torch.arange(1000) // 20
    samplers = [
        EpochSampler(1000, seed=3, rank=r, world_size=world_size, blocks=blocks, window=window)
        for r in range(world_size)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    return [[index for _, index in sampler] for sampler in samplers]


def test_the_order_is_that_of_one_process_and_new_in_each_epoch() -> None:
    (order,) = orders(1, 100)
    assert sorted(order) == [*range(1000)]
    for world_size in (2, 4):
        shares = orders(world_size, 100)
        assert [shares[i % world_size][i // world_size] for i in range(1000)] == order
    assert orders(1, 100, epoch=3) != [order]


@pytest.mark.parametrize("window", [0, 40, 200, 10_000])
def test_a_block_is_needed_for_a_window_and_not_longer(window: int) -> None:
    (order,) = orders(1, window)
    places = np.argsort(order).reshape(50, 20)  # where the images of a block come
    assert (places.max(1) - places.min(1)).max() <= 20 + 2 * window
    assert ((places.max(1) - places.min(1)).mean() >= min(600, window * 0.6)) or window == 0
    labels = np.array(order) // 20
    if window >= 200:  # a batch holds images of many blocks
        assert all(len(set(labels[i : i + 50])) >= 8 for i in range(200, 800, 50))


def test_a_window_of_the_whole_set_is_a_shuffle() -> None:
    """A late image can come early: its place says little about where its block begins."""
    (order,) = orders(1, 10**9)
    assert abs(np.corrcoef(order, range(1000))[0, 1]) < 0.1


def test_few_parts_are_fetched_for_the_first_batch(
    files: Path, tmp_path: Path, cache: Path
) -> None:
    cfg = tiny_config(tmp_path / "run", "simclr_dyntemp", "optimizer.batch_size=4", "seed=5")
    data = {"train_path": str(files), "streaming": True, "shuffle_window": 4, "num_workers": 0}
    other = {"validation_fraction": 0.2, "check_files": False, "fraction": -1, "copies": 2}
    cfg.data = {**cfg.data, "dataset": "hf", "format": "image_folder", **data, **other}
    loader = build_data(cfg).train_dataloader()
    next(iter(loader))
    assert len(list(cache.glob("*.arrow"))) <= 3
    for _ in loader:
        pass
    assert len(list(cache.glob("*.arrow"))) == ROWS // GROUP


@pytest.mark.slow
def test_a_run_gives_the_same_numbers_from_an_address_and_from_disk(
    server: Server, tmp_path: Path
) -> None:
    def trained(path: str, workers: int) -> bytes:
        words = "max_epochs=2", "optimizer.batch_size=4", "data.fraction=-1", "evaluation.knn_k=3"
        cfg = tiny_config(tmp_path / f"{len(path)}-{workers}", "simclr_dyntemp", *words)
        data = {"train_path": path, "streaming": True, "shuffle_window": 8, "num_workers": workers}
        cfg.data = {**cfg.data, "dataset": "hf", "format": "image_folder", **data}
        return (pretrain(cfg).path / "metrics.csv").read_bytes()

    name = "train-00000-of-00003.parquet"
    from_disk = trained(str(server.folder / name), 0)
    assert trained(server.url(name), 0) == trained(server.url(name), 2) == from_disk
