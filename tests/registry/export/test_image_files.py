"""Image files through `run.embed` and through the code of the card: the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from omegaconf import OmegaConf
from PIL import Image
from sklearn.datasets import load_sample_images
from tests.conftest import tiny_config
from tests.registry.export.test_export import NARROW, PLAIN, QUICK, QUIET, run_card

from solo_registry.api import Run
from solo_registry.export.card import preprocessing
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of two classes, eight photographs each of many sizes, as PNG, some of them grey."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    sizes = [(60, 90), (97, 61), (48, 48), (200, 130), (33, 70), (64, 40), (150, 151), (41, 37)]
    for name, photo in zip(("church", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            cut = Image.fromarray(photo[20 * number :][:height, 30 * number :][:, :width])
            (cut.convert("L") if number % 3 == 2 else cut).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(
    scope="module", params=[("RGB", PLAIN, 27, 31), ("L", NARROW, 32, 37)], ids=["RGB", "grey"]
)
def photo_run(
    request: pytest.FixtureRequest, photographs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, str, int]:
    """A run on the photographs; their mode; the length that their shorter side gets."""
    mode, backbone, size, resize = request.param
    words = [f"data.{split}_path={photographs}" for split in ("train", "val")]
    words += ["evaluation.knn_k=3", "data.fraction=-1"]
    given = tiny_config(tmp_path_factory.mktemp("runs"), "simclr_dyntemp", *QUICK, *words)
    OmegaConf.update(given, "data.dataset", "custom")
    given.data.channels = len(mode)
    given.backbone, given.augmentations = backbone, [{"crop_size": size, "num_crops": 2}]
    given.optimizer.batch_size = 8
    return Run(pretrain(given).path, device="cpu"), mode, resize


def assert_the_card_embeds_like_the_run(
    run: Run, folder: Path, mode: str, photographs: Path, monkeypatch: Any
) -> None:
    """Feature by feature to 1e-4, from the files, by the code that the card shows."""
    ours = run.embed(photographs)
    card = run_card(folder, monkeypatch)
    pictures = [Image.open(photographs / name).convert(mode) for name in ours.index]
    with torch.no_grad():
        theirs = card["model"](torch.stack([card["transform"](picture) for picture in pictures]))
    assert np.ptp(ours.to_numpy(), axis=0).max() > 1e-3  # images differ, so the test can fail
    np.testing.assert_allclose(np.asarray(theirs), ours.to_numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_embed_and_exports_give_the_same_features_of_image_files(
    photo_run: tuple[Run, str, int], photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, mode, resize = photo_run
    for to in ("timm", "torch"):
        folder = export_run(run.path, to, None, QUIET)
        assert_the_card_embeds_like_the_run(run, folder, mode, photographs, monkeypatch)
        assert f"to {resize} pixels" in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.nightly
def test_onnx_gives_the_same_features_of_image_files(
    photo_run: tuple[Run, str, int], photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"needs {package}: pip install '.[onnx]' onnxruntime")
    run, mode, _ = photo_run
    folder = export_run(run.path, "onnx", None, QUIET)
    assert {file.name for file in folder.iterdir()} >= {"backbone.onnx", "README.md", "recipe.yaml"}
    assert_the_card_embeds_like_the_run(run, folder, mode, photographs, monkeypatch)


@pytest.mark.slow
def test_timms_own_transform_is_one_step_of_255_away(
    photo_run: tuple[Run, str, int], photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow and torch round a resized pixel apart; the rest of what `config.json` says is ours."""
    run, mode, _ = photo_run
    folder = export_run(run.path, "timm", None, QUIET)
    info = run._loaded.info()
    made = preprocessing(run._loaded.cfg, info)
    if (folder / "config.json").exists():
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
        made = timm.data.resolve_data_config({}, model=model)
    theirs, ours = timm.data.create_transform(**made), run_card(folder, monkeypatch)["transform"]
    std = torch.tensor(info.std).view(-1, 1, 1)
    for path in photographs.rglob("*.png"):
        image = Image.open(path).convert(mode)
        assert ((ours(image) - theirs(image)) * std * 255).abs().max() < 1.01
        torch.testing.assert_close(ours(image), run.preprocess(path))
