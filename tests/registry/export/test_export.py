from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from rich.console import Console
from tests.conftest import tiny_config
from typer.testing import CliRunner

from solo_registry.cli.main import app
from solo_registry.config.compose import run_with_config
from solo_registry.config.identity import config_hash
from solo_registry.config.resolve import resolve
from solo_registry.data.augment import EvalTransform
from solo_registry.data.sets import SetInfo, TensorSet, load_set
from solo_registry.errors import UserError
from solo_registry.export.card import card, preprocessing
from solo_registry.export.folder import export_run
from solo_registry.jobs.pretrain import pretrain
from solo_registry.runs.model import read_checkpoint
from solo_registry.runs.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
QUIET = Console(quiet=True)
NARROW = {"name": "resnet18_narrow", "kwargs": {"channels": [8, 8, 16, 16]}}
PLAIN = {"name": "timm/resnet18", "kwargs": {"channels": [8, 8, 16, 16], "low_resolution": False}}
VIT = {"name": "vit_tiny", "kwargs": {"embed_dim": 24, "depth": 2, "num_heads": 2}}
WIDE = {"name": "wide_resnet28w2", "kwargs": {"depth": 10}}


QUICK = (
    "max_epochs=1", "telemetry.every_n_epochs=0", "evaluation.baselines=false",
    "evaluation.linear=false", "data.fraction=0.2", "optimizer.batch_size=64",
)  # fmt: skip
Trained = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def originals() -> dict[str, RunFolder]:
    """The runs that `trained` copies; each is trained once."""
    return {}


@pytest.fixture
def trained(
    originals: dict[str, RunFolder], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Return a maker of finished runs, which a test may change: trained(PLAIN, "seed=3")."""

    def make(backbone: dict[str, Any], *words: str) -> RunFolder:
        key = f"{backbone} {words}"
        if key not in originals:
            runs_dir = tmp_path_factory.mktemp("runs")
            given = tiny_config(runs_dir, "simclr_dyntemp", *QUICK, *words)
            given.backbone = backbone
            originals[key] = pretrain(given)
        run = originals[key]
        copy = tmp_path.joinpath("runs", *run.path.parts[-3:])
        return RunFolder(Path(shutil.copytree(run.path, copy)))

    return make


def features_of_run(run: RunFolder, images: torch.Tensor, *, trained: bool = True) -> torch.Tensor:
    """Features by the run's own method class, in float64, where no order of sums shows."""
    from solo_registry.catalog.registry import METHODS

    cfg = run.read_config()
    model = METHODS.get(cfg.method)(cfg)
    if trained:
        model.load_state_dict(read_checkpoint(run.checkpoint)["state_dict"], strict=True)
    with torch.no_grad():
        feats: torch.Tensor = model.double().eval()(images)["feats"]
    return feats


def run_card(folder: Path, monkeypatch: Any) -> dict[str, Any]:
    """Run the code that the card shows to its reader; return what it made."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code is not None
    space: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec(code.group(1), space)
    return space


def features_of_card(folder: Path, images: torch.Tensor, monkeypatch: Any) -> torch.Tensor:
    """Features by the model of that code."""
    with torch.no_grad():
        feats: torch.Tensor = run_card(folder, monkeypatch)["model"].double()(images)
    return feats


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "targets"),
    [
        (NARROW, ("timm", "torch")),
        (PLAIN, ("timm", "huggingface", "torch")),
        (VIT, ("timm", "huggingface")),
        (WIDE, ("torch",)),
    ],
    ids=["low_resolution", "plain", "vit", "not_timm"],
)
def test_the_cards_code_gives_the_features_of_the_run(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, backbone: Any, targets: tuple[str, ...]
) -> None:
    run = trained(backbone)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = features_of_run(run, images)
    for to in targets:
        folder = export_run(run.path, to, None, QUIET)
        found = features_of_card(folder, images, monkeypatch)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    # other weights have other features, so that the comparison can fail
    other = features_of_run(run, images, trained=False)
    assert not torch.allclose(other, expected, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [PLAIN, VIT], ids=["plain", "vit"])
def test_timm_gives_it_another_head_and_other_channels(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, backbone: Any
) -> None:
    run = trained(backbone)
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = features_of_run(run, images)
    for to in ("timm", "huggingface"):
        folder = f"local-dir:{export_run(run.path, to, None, QUIET)}"
        head = timm.create_model(folder, pretrained=True, num_classes=10).double().eval()
        with torch.no_grad():
            assert head(images).shape == (2, 10)
            found = head.forward_head(head.forward_features(images), pre_logits=True)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        colour = timm.create_model(folder, pretrained=True, in_chans=3).double().eval()
        with torch.no_grad():  # grey in three channels
            torch.testing.assert_close(colour(images.expand(-1, 3, -1, -1)), expected)


@pytest.mark.slow
def test_a_model_of_colour_images_takes_grey_ones(trained: Trained) -> None:
    run = trained(PLAIN, "data.channels=3")
    folder = f"local-dir:{export_run(run.path, 'huggingface', None, QUIET)}"
    grey = timm.create_model(folder, pretrained=True, in_chans=1).double().eval()
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = features_of_run(run, images.expand(-1, 3, -1, -1))
    with torch.no_grad():
        torch.testing.assert_close(grey(images), expected)


@pytest.mark.slow
def test_the_cards_transform_of_sets_of_one_size(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = [{"crop_size": 12, "num_crops": 2}]
    given = tiny("simclr_dyntemp", *QUICK)
    given.backbone, given.augmentations = PLAIN, crops
    run = pretrain(given)
    images = load_set(run.read_config().data, "val")
    assert isinstance(images, TensorSet)
    card = run_card(export_run(run.path, "huggingface", None, QUIET), monkeypatch)
    ours = EvalTransform(images.info, 12)(images.images[:20])
    pictures = [Image.fromarray(image[0].numpy()) for image in images.images[:20]]
    torch.testing.assert_close(torch.stack([card["transform"](each) for each in pictures]), ours)


def test_timm_computes_the_resize_back() -> None:
    for size in range(8, 600):
        cfg = OmegaConf.create(
            {"augmentations": [{"crop_size": size}], "data": {"image_channels": 3}}
        )
        for known, resize in ((size, size), (None, round(size * 256 / 224))):
            info = SetInfo("any", 2, 3, known, (0.5,) * 3, (0.25,) * 3, ("a", "b"))
            made = timm.data.create_transform(**preprocessing(cfg, info)).transforms[0]
            assert made.size in (resize, [resize])


@pytest.mark.slow
def test_the_card_holds_row_temperature_and_a_recipe_of_the_same_hash(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(NARROW, "evaluation.pictures=true", "evaluation.linear=true")
    folder = export_run(run.path, "timm", None, QUIET)
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "model.safetensors", "recipe.yaml", "temperature.png"
    }  # fmt: skip
    text, result = (folder / "README.md").read_text(), run.read_result()
    assert result is not None
    row = result["results"]["trained"]
    assert f"| trained backbone | {row['knn_acc1']:.2f} | {row['linear_acc1']:.2f} |" in text
    assert result["config_hash"] in text and '"tau_max": 0.2' in text
    assert "(temperature.png)" in text and str(result["normalisation"]["mean"]) in text
    composed: list[str] = []
    monkeypatch.chdir(folder)
    words = ["--config-path", str(folder.absolute()), "--config-name", "recipe"]
    words.append(f"data.digest={result['data_digest']}")
    run_with_config(lambda cfg: composed.append(config_hash(resolve(cfg))), words)
    assert composed == [result["config_hash"]]


@pytest.mark.slow
def test_what_cannot_be_exported_is_said_before_anything_is_written(trained: Trained) -> None:
    run = trained(NARROW)
    with pytest.raises(UserError, match=r"unknown target 'tim'\. Did you mean 'timm'"):
        export_run(run.path, "tim", None, QUIET)
    with pytest.raises(UserError, match=r"3x3 stem .* Use --to timm"):
        export_run(run.path, "huggingface", None, QUIET)
    with pytest.raises(UserError, match="not a finished run's folder"):
        export_run(run.checkpoint, "timm", None, QUIET)
    wide = trained(WIDE)
    with pytest.raises(UserError, match=r"'wide_resnet28w2' is not timm's: use --to torch"):
        export_run(wide.path, "timm", None, QUIET)
    assert not (run.path / "export").exists() and not (wide.path / "export").exists()
    run.result.unlink()
    with pytest.raises(UserError, match="not a finished run's folder"):
        export_run(run.path, "timm", None, QUIET)


@pytest.mark.slow
def test_the_command(trained: Trained, tmp_path: Path) -> None:
    run = trained(PLAIN)
    words = ["export", str(run.path), "--to", "huggingface", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architecture"] == "resnet18" and config["model_args"]["in_chans"] == 1


def test_no_tag_of_a_runs_files_gets_into_the_card(tiny: Tiny) -> None:
    cfg = resolve(tiny("simclr"))
    cfg.data.image_channels = 1
    evil = "<script>alert(1)</script>"
    row = {"knn_acc1": 90.0, "linear_acc1": evil}
    result = {
        "seed": evil, "epochs": evil, "train_images": 1, "test_images": 1, "config_hash": evil,
        "protocols": {"knn_acc1": evil}, "results": {evil: row}, "method_kwargs": {},
    }  # fmt: skip
    info = SetInfo("any", 2, 1, (8, 8), (0.5,), (0.25,), ("a", "b"))
    cfg.data.dataset = cfg.backbone.name = evil
    text = card("torch", cfg, None, info, result, 16, None)
    shown = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert "<" not in shown.replace("<br>", "") and shown.count("&lt;script&gt;") >= 5


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(
    trained: Trained, tmp_path: Path
) -> None:
    run = trained(NARROW)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file"):
        export_run(run.path, "timm", tmp_path / "file" / "out", QUIET)
    folder = export_run(run.path, "timm", None, QUIET)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (run.path / "config.yaml").write_bytes((run.path / "config.yaml").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"config\.yaml is no config of this run"):
        export_run(run.path, "timm", None, QUIET)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["timm"]


def test_onnx_asks_for_its_packages(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("solo_registry.export.onnx.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs onnx and onnxscript: pip install '.*\[onnx\]'"):
        export_run(tmp_path, "onnx", None, QUIET)
