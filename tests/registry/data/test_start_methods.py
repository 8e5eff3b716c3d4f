"""Whatever reaches a loader's worker can be sent there: workers are forked on Linux alone."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.forked import run_forked
from torch import Tensor

from solo_registry.data.module import PretrainDataModule, build_data
from solo_registry.data.sampling import ResumableLoader

Config = Callable[..., Any]
LOADERS = ("folder", "folder without labels", "h5 of files", "h5 of arrays", "on_device", "memory")
JOB = """
import multiprocessing
import sys

CFG = {
    "method": "simclr", "progress": "lines", "accelerator": "cpu", "max_epochs": 1,
    "backbone": {"name": "resnet18_narrow", "kwargs": {"channels": [4, 4, 8, 8]}},
    "augmentations": [{"crop_size": 8, "num_crops": 2}],
    "optimizer": {"name": "sgd", "batch_size": 2, "lr": 0.1},
    "evaluation": {"pictures": False, "baselines": False, "linear": False},
    "telemetry": {"every_n_epochs": 0},
}


def main(start_method, folder, *formats):
    multiprocessing.set_start_method(start_method, force=True)
    from omegaconf import OmegaConf
    from rich.console import Console

    from solo_registry.evaluation.classifier import Recipe
    from solo_registry.evaluation.classify import classify
    from solo_registry.jobs.pretrain import pretrain

    data = {"dataset": "custom", "train_path": folder, "val_path": folder, "num_workers": 1}
    for name in formats:
        run = pretrain(OmegaConf.create({**CFG, "data": {**data, "format": name}}))
    classify(run.path, Recipe(frozen=True, epochs=1, lr=0.1), Console())


if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.fixture
def source(tmp_path: Path, folder: Path) -> Callable[[str], dict[str, Any]]:
    """Return a maker of `data` sections, of a loader's name."""

    def make(name: str) -> dict[str, Any]:
        if name in ("on_device", "memory"):
            form = "on_device" if name == "on_device" else "image_folder"
            return {"dataset": "digits", "format": form}
        if name.startswith("folder"):
            path, form = folder, "image_folder"
        else:
            h5py = pytest.importorskip("h5py")
            path, form = tmp_path / "images.h5", "h5"
            with h5py.File(path, "w") as file:
                if name == "h5 of arrays":
                    generator = torch.Generator().manual_seed(0)
                    pixels = torch.randint(0, 256, (12, 8, 8), generator=generator)
                    file["images"] = pixels.to(torch.uint8).numpy()
                    file["labels"] = [0, 1] * 6
                for image in folder.rglob("*.png") if name == "h5 of files" else ():
                    if not image.name.startswith("."):
                        content = torch.tensor(list(image.read_bytes()), dtype=torch.uint8)
                        file[f"{image.parent.name}/{image.name}"] = content.numpy()
        unlabelled = name == "folder without labels"
        paths = {"train_path": str(path), "val_path": str(path), "no_labels": unlabelled}
        return {"dataset": "custom", "format": form, **paths}

    return make


def module(cfg: Any) -> PretrainDataModule:
    data = build_data(cfg)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, strategy=strategy)  # type: ignore[assignment]
    return data


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.mark.parametrize("name", LOADERS)
def test_a_copy_of_what_a_worker_gets_makes_the_same_batches(
    config: Config, source: Callable[[str], dict[str, Any]], name: str
) -> None:
    section = {**source(name), "num_workers": 1}
    data = module(config(optimizer={"batch_size": 2}, data=section))
    train, val = data.train_dataloader(), data.val_dataloader()
    assert isinstance(train, ResumableLoader) and train.num_workers == 1
    first: Any = train.dataset
    keys = [(0, 0), (0, 1)]
    before = first.__getitems__(keys)  # an open file, such as HDF5's, is not sent either
    copy = pickle.loads(pickle.dumps((first, train.collate_fn, train.worker_init_fn)))
    assert equal(copy[0].__getitems__(keys), before)
    assert isinstance(val, torch.utils.data.DataLoader)
    other = pickle.loads(pickle.dumps(val.dataset))
    assert equal(other[[0, 1]], val.dataset[[0, 1]])


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize(
    "start_method", [pytest.param("spawn", marks=pytest.mark.nightly), "forkserver"]
)
def test_a_whole_job_runs_where_workers_are_not_forked(
    tmp_path: Path, folder: Path, start_method: str
) -> None:
    if start_method not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start_method} here")
    job = tmp_path / "job.py"
    job.write_text(JOB)
    formats = ["image_folder"]
    if start_method == "forkserver" and find_spec("nvidia.dali"):
        formats.append("dali")  # has threads and no workers, but those of the evaluation
    done = run_forked(job, start_method, folder, *formats, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
    assert len(results) == len(formats) and all(one["test_images"] == 6 for one in results)
    assert json.loads(next(tmp_path.rglob("linear.json")).read_text())["test_images"] == 6
