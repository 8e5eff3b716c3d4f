from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console
from typer.testing import CliRunner

from solo_registry.cli import app
from solo_registry.config import resolve
from solo_registry.errors import UserError
from solo_registry.export.folder import export_run
from solo_registry.hydra_app import run_with_config
from solo_registry.identity import config_hash
from solo_registry.training.model import read_checkpoint
from solo_registry.training.pretrain import pretrain
from solo_registry.training.run_folder import RunFolder

Tiny = Callable[..., DictConfig]
QUIET = Console(quiet=True)
NARROW = {"name": "resnet18_narrow", "kwargs": {"channels": [8, 8, 16, 16]}}
PLAIN = {"name": "timm/resnet18", "kwargs": {"channels": [8, 8, 16, 16], "low_resolution": False}}
VIT = {"name": "vit_tiny", "kwargs": {"embed_dim": 24, "depth": 2, "num_heads": 2}}
WIDE = {"name": "wide_resnet28w2", "kwargs": {"depth": 10}}


def trained(tiny: Tiny, backbone: dict[str, Any], *words: str) -> RunFolder:
    given = tiny("simclr_dyntemp", "max_epochs=1", "telemetry.every_n_epochs=0", *words)
    given.backbone = backbone
    return pretrain(given)


def features_of_run(run: RunFolder, images: torch.Tensor, *, trained: bool = True) -> torch.Tensor:
    """Features by the run's own method class, in float64, where no order of sums shows."""
    from solo_registry.registry import METHODS

    cfg = run.read_config()
    model = METHODS.get(cfg.method)(cfg)
    if trained:
        model.load_state_dict(read_checkpoint(run.checkpoint)["state_dict"], strict=True)
    with torch.no_grad():
        feats: torch.Tensor = model.double().eval()(images)["feats"]
    return feats


def features_of_card(folder: Path, images: torch.Tensor, monkeypatch: Any) -> torch.Tensor:
    """Features by the code that the card shows to its reader."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code is not None
    space: dict[str, Any] = {}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec(code.group(1), space)
    with torch.no_grad():
        feats: torch.Tensor = space["model"].double()(images)
    return feats


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
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, backbone: Any, targets: tuple[str, ...]
) -> None:
    run = trained(tiny, backbone)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    expected = features_of_run(run, images)
    for to in targets:
        folder = export_run(run.path, to, None, QUIET)
        found = features_of_card(folder, images, monkeypatch)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    # other weights have other features, so that the comparison can fail
    other = features_of_run(run, images, trained=False)
    assert not torch.allclose(other, expected, atol=1e-3)


def test_the_card_holds_row_temperature_and_a_recipe_of_the_same_hash(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tiny, NARROW, "evaluation.pictures=true")
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


def test_what_cannot_be_exported_is_said_before_anything_is_written(tiny: Tiny) -> None:
    run = trained(tiny, NARROW)
    with pytest.raises(UserError, match=r"unknown target 'tim'\. Did you mean 'timm'"):
        export_run(run.path, "tim", None, QUIET)
    with pytest.raises(UserError, match=r"3x3 stem .* use --to timm"):
        export_run(run.path, "huggingface", None, QUIET)
    with pytest.raises(UserError, match="not a finished run's folder"):
        export_run(run.checkpoint, "timm", None, QUIET)
    wide = trained(tiny, WIDE)
    with pytest.raises(UserError, match=r"'wide_resnet28w2' is not timm's: use --to torch"):
        export_run(wide.path, "timm", None, QUIET)
    assert not (run.path / "export").exists() and not (wide.path / "export").exists()
    run.result.unlink()
    with pytest.raises(UserError, match="not a finished run's folder"):
        export_run(run.path, "timm", None, QUIET)


def test_the_command(tiny: Tiny, tmp_path: Path) -> None:
    run = trained(tiny, PLAIN)
    words = ["export", str(run.path), "--to", "huggingface", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architecture"] == "resnet18" and config["model_args"]["in_chans"] == 1
