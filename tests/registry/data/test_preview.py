"""`dyntemp views` shows the images and the views that a run is trained on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from omegaconf import DictConfig
from PIL import Image

from solo_registry.cli.main import main
from solo_registry.config.resolve import resolve
from solo_registry.console import terminal
from solo_registry.data import preview
from solo_registry.data.module import build_data
from solo_registry.errors import UserError
from solo_registry.plots.views import image_grid
from solo_registry.training.pretrain import train


def test_the_columns_are_the_image_and_its_views_in_training(
    tiny: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns: dict[str, Any] = {}
    monkeypatch.setattr(preview, "image_grid", lambda found, out: columns.update(found))
    given = tiny("simclr", "optimizer.batch_size=1437")
    given.augmentations.append({"crop_size": 4, "num_crops": 1})
    data = build_data(resolve(given))
    preview.draw_views(data, tmp_path / "x.png", images=3)
    assert list(columns) == ["image", "view 1", "view 2", "view 3, small"]
    indexes, views, _ = next(iter(data.train_dataloader()))
    place = int((indexes == len(data.train_set) - 1).nonzero())  # the last row is the last image
    assert columns["image"][-1].equal(data.train_set[int(indexes[place])][0] / 255)
    std, mean = data.info.std[0], data.info.mean[0]
    for name, view in zip(list(columns)[1:], views, strict=True):
        torch.testing.assert_close(columns[name][-1], view[place] * std + mean)


@pytest.mark.slow
def test_the_command_needs_fewer_images_than_a_batch_and_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for number in range(3):
        Image.new("RGB", (40 + 9 * number, 50), (90 * number, 40, 40)).save(f"photos/{number}.png")
    words = "data=custom", "data.train_path=photos", "data.no_labels=true", "data.format=on_device"
    monkeypatch.setattr(sys, "argv", ["dyntemp", "views", *words, "--out", "here/v.png"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code and capsys.readouterr().out.strip() == "here/v.png"
    assert imread("here/v.png").shape[0] > 3 * 100


@pytest.mark.parametrize("name", ["views", "views.pgn", "views.csv"])
def test_another_suffix_is_refused_first(tiny: Callable[..., DictConfig], name: str) -> None:
    with pytest.raises(UserError, match=r"\.png"):
        preview.data_for_preview(tiny("simclr", "data.dataset=none"), Path(name))


def test_unequal_columns_are_refused(tmp_path: Path) -> None:
    for columns in ({}, {"a": []}, {"a": [torch.zeros(1, 2, 2)], "b": []}):
        with pytest.raises(ValueError, match="one length"):
            image_grid(columns, tmp_path / "x.png")


@pytest.mark.nightly
@pytest.mark.slow
def test_debug_augmentations_draws_them_beside_a_run(
    tiny: Callable[..., DictConfig], tmp_path: Path
) -> None:
    given = tiny("simclr", "max_epochs=1", "debug_augmentations=true", "telemetry.every_n_epochs=0")
    run = train(given, terminal(), ExitStack()).run
    assert imread(run.plots / "views.png").shape[1] > 300
