import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from solo_registry.data.module import PretrainDataModule, build_data, eval_loader
from solo_registry.data.sets import TensorSet
from solo_registry.errors import UserError

MakeNoise = Callable[..., TensorSet]
Config = Callable[..., Any]
Pipeline = Callable[..., dict[str, Any]]
needs_dali = pytest.mark.skipif(not find_spec("nvidia.dali"), reason="NVIDIA DALI is not installed")
LOADERS = [
    ("image_folder", 0), ("image_folder", 2), ("on_device", 0), ("on_device", 2),
    pytest.param("dali", 1, marks=needs_dali),
]  # fmt: skip


def test_batches_keep_solo_learns_contract(noise: MakeNoise, config: Config) -> None:
    data = PretrainDataModule(config(), noise(count=44), noise(count=5))
    loader = data.train_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    indexes, views, targets = batches[0]
    assert indexes.dtype == targets.dtype == torch.int64
    assert [view.shape for view in views] == [(8, 3, 8, 8)] * 2
    assert torch.equal(targets, indexes % 4)
    ((X, y),) = data.val_dataloader()
    assert X.shape == (5, 3, 8, 8) and y.tolist() == [0, 1, 2, 3, 0]


def test_multicrop_batches(noise: MakeNoise, config: Config, simclr: Pipeline) -> None:
    cfg = config(augmentations=[simclr(), simclr(crop_size=4, num_crops=3)])
    data = PretrainDataModule(cfg, noise(), None)
    views = next(iter(data.train_dataloader()))[1]
    assert [view.shape[-1] for view in views] == [8, 8, 4, 4, 4]
    assert (data.views.num_large, data.views.num_small) == (2, 3)


def test_no_validation_set(noise: MakeNoise, config: Config) -> None:
    assert PretrainDataModule(config(), noise(), None).val_dataloader() == []


def test_batch_larger_than_the_data(noise: MakeNoise, config: Config) -> None:
    cfg = config(optimizer={"batch_size": 41})
    with pytest.raises(UserError, match=r"batch_size=41 is more than the 40 training images"):
        PretrainDataModule(cfg, noise(), None)


def on_rank(data: PretrainDataModule, rank: int, world_size: int) -> PretrainDataModule:
    there = SimpleNamespace(root_device=torch.device("cpu"))
    place: Any = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=there)
    data.trainer = place
    return data


def test_ranks_share_the_images(noise: MakeNoise, config: Config) -> None:
    seen: list[int] = []
    shown: list[Tensor] = []
    for rank in range(2):
        data = on_rank(PretrainDataModule(config(), noise(), noise(count=7)), rank, 2)
        seen += [index for batch in data.train_dataloader() for index in batch[0].tolist()]
        shown += [X for X, _ in data.val_dataloader()]
    assert len(seen) == len(set(seen)) == 32
    assert [len(X) for X in shown] == [4, 3]


def test_batch_larger_than_the_share_of_a_rank(noise: MakeNoise, config: Config) -> None:
    data = on_rank(PretrainDataModule(config(), noise(count=15), None), 0, 2)
    with pytest.raises(UserError, match=r"batch_size=8 .* the 15 .*, 7 on each of 2 devices"):
        data.train_dataloader()


def test_mean_and_std_are_the_same_in_training_and_evaluation(
    noise: MakeNoise, config: Config, simclr: Pipeline
) -> None:
    plain = {"rrc": {"enabled": False}, "crop_size": 8, "mean": [0.1, 0.2, 0.3], "std": [0.5]}
    data = PretrainDataModule(config(augmentations=[plain]), noise(), noise())
    assert data.info == data.train_set.info == data.val_set.info  # type: ignore[union-attr]
    assert data.info.mean == (0.1, 0.2, 0.3)
    indexes, (view,), _ = next(iter(data.train_dataloader()))
    evaluated = torch.cat([X for X, _ in data.val_dataloader()])
    torch.testing.assert_close(view, evaluated[indexes])
    with pytest.raises(UserError, match="the pipelines differ in mean or std"):
        PretrainDataModule(config(augmentations=[plain, simclr()]), noise(), None)


def test_build_data_loads_both_splits_and_checks_first(config: Config) -> None:
    data = build_data(config())
    assert (len(data.train_set), len(data.val_set or [])) == (1437, 360)
    with pytest.raises(UserError, match="batch_size=2000 is more than the 1437"):
        build_data(config(optimizer={"batch_size": 2000}))
    with pytest.raises(UserError, match=r"augmentations\.flip"):
        build_data(config(augmentations=[{"crop_size": 8, "flip": {"prob": 1}}]))


def test_folder_through_worker_processes(folder: Path, config: Config) -> None:
    keys = {"dataset": "custom", "train_path": str(folder), "val_path": str(folder)}
    cfg = config(data={**keys, "num_workers": 2}, optimizer={"batch_size": 3})
    data = build_data(cfg)
    assert [batch[1][0].shape for batch in data.train_dataloader()] == [(3, 3, 8, 8)] * 2
    targets = torch.cat([y for _, y in data.val_dataloader()])
    assert targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_broken_file_is_named_from_a_worker_process(folder: Path, config: Config) -> None:
    keys = {"dataset": "custom", "train_path": str(folder), "num_workers": 1}
    data = build_data(config(data=keys, optimizer={"batch_size": 6}))
    (folder / "dog" / "b.JPEG").write_bytes(b"gone bad since the start")
    loader = data.train_dataloader()
    with pytest.raises(UserError, match=r"cannot read image .*dog/b.JPEG"):
        next(iter(loader))
    loader._iterator._shutdown_workers()  # type: ignore[union-attr]  # the gc waits 5 s for each


@pytest.mark.distributed
def test_loaders_can_be_sent_to_spawned_processes(noise: MakeNoise, config: Config) -> None:
    dataset = PretrainDataModule(config(), noise(), None).train_dataloader().dataset
    copy = pickle.loads(pickle.dumps(dataset))
    assert all(map(torch.equal, dataset[(1, 2)][1], copy[(1, 2)][1]))


def test_drawing_views_leaves_the_number_of_threads(noise: MakeNoise, config: Config) -> None:
    torch.set_num_threads(3)
    next(iter(PretrainDataModule(config(), noise(), None).train_dataloader()))
    assert torch.get_num_threads() == 3


def test_eval_loader_is_in_order_and_whole(noise: MakeNoise) -> None:
    images = noise(count=21)
    loader = eval_loader(images, crop_size=16, batch_size=8, num_workers=2)
    batches = list(loader)
    assert len(loader) == 3 and [len(X) for X, _ in batches] == [8, 8, 5]
    assert torch.equal(torch.cat([y for _, y in batches]), images.targets)
    assert batches[0][0].shape[1:] == (3, 16, 16)


class Recorder(LightningModule):
    """Notes what it is trained on; learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.trained: list[tuple[int, list[int], float]] = []
        self.validated = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        indexes, views, _ = batch
        self.trained.append((self.current_epoch, indexes.tolist(), sum(views).sum().item()))
        loss: Tensor = self.layer(views[0].mean().view(1, 1)).sum()
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated += len(batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder: Path, **kwargs: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, **kwargs,
    )  # fmt: skip


class Killed(Exception):
    """Stands for the end of the process."""


class Kill(Callback):
    """Saves a checkpoint after so many steps, and ends the run."""

    def __init__(self, steps: int, checkpoint: Path) -> None:
        self.steps = steps
        self.checkpoint = checkpoint

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.checkpoint)
            raise Killed


@pytest.mark.slow
@pytest.mark.parametrize(("form", "workers"), LOADERS)
@pytest.mark.parametrize("steps", [8, 10])  # in the middle and at the end of the second epoch
def test_a_resumed_run_sees_the_batches_of_an_unbroken_one(
    tmp_path: Path, noise: MakeNoise, config: Config, form: str, workers: int, steps: int
) -> None:
    cfg = config(data={"format": form, "num_workers": workers})
    checkpoint = tmp_path / "part.ckpt"

    def data() -> PretrainDataModule:
        return PretrainDataModule(cfg, noise(), noise(count=6))

    whole, start, rest = Recorder(), Recorder(), Recorder()
    trainer(tmp_path, max_epochs=4).fit(whole, data())
    with pytest.raises(Killed):
        trainer(tmp_path, max_epochs=4, callbacks=Kill(steps, checkpoint)).fit(start, data())
    trainer(tmp_path, max_epochs=4).fit(rest, data(), ckpt_path=str(checkpoint), weights_only=True)
    assert len(start.trained) == steps
    assert whole.trained == start.trained + rest.trained
    assert len({tuple(indexes) for _, indexes, _ in whole.trained}) == 20


@pytest.mark.slow
@pytest.mark.parametrize(("form", "workers"), LOADERS)
def test_a_run_made_longer_goes_on_after_its_last_epoch(
    tmp_path: Path, noise: MakeNoise, config: Config, form: str, workers: int
) -> None:
    cfg = config(data={"format": form, "num_workers": workers})
    data = PretrainDataModule(cfg, noise(), noise(count=6))
    whole, start, rest = Recorder(), Recorder(), Recorder()
    trainer(tmp_path, max_epochs=3).fit(whole, data)
    first = trainer(tmp_path, max_epochs=2)
    first.fit(start, data)
    first.save_checkpoint(tmp_path / "last.ckpt")
    last = str(tmp_path / "last.ckpt")
    trainer(tmp_path, max_epochs=3).fit(rest, data, ckpt_path=last, weights_only=True)
    assert whole.trained == start.trained + rest.trained
    assert whole.validated == start.validated + rest.validated == 3 * 6


@pytest.mark.slow
def test_trains_without_a_validation_set(tmp_path: Path, noise: MakeNoise, config: Config) -> None:
    model = Recorder()
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(
        model, PretrainDataModule(config(), noise(), None)
    )
    assert len(model.trained) == 5 and model.validated == 0


@pytest.mark.parametrize(("side", "label"), [("train", 10), ("val", 12), ("val", -2)])
def test_a_label_that_is_no_class_is_refused_for_every_kind_of_set(
    noise: MakeNoise, config: Config, side: str, label: int
) -> None:
    sets = {"train": noise(), "val": noise(count=6)}
    sets[side].targets[1] = label
    classes = sets["train"].info.num_classes
    expected = rf"the {side} images of '.*': label {label}, .* have {classes} classes"
    with pytest.raises(UserError, match=expected):
        PretrainDataModule(config(), sets["train"], sets["val"])


@pytest.mark.parametrize("form", ["image_folder", "on_device"])
def test_a_process_without_validation_images_gets_one_without_a_label(
    noise: MakeNoise, config: Config, form: str
) -> None:
    data = PretrainDataModule(
        config(data={"format": form, "num_workers": 0}), noise(), noise(count=2)
    )
    data._place = lambda: (2, 3)  # type: ignore[method-assign]
    ((images, targets),) = data.val_dataloader()
    assert len(images) == 1 and targets.tolist() == [-1]
    assert (data.val_set.targets != -1).all()  # type: ignore[union-attr]
