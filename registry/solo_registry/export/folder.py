"""Writes a run's backbone, the files that rebuild it, and its model card into a folder."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from safetensors.torch import save
from torch import Tensor, nn

from solo_registry.backbones import LOW_RESOLUTION, build_backbone
from solo_registry.data.sets import SetInfo
from solo_registry.errors import UserError, nearest
from solo_registry.export.card import by_config, card, plain, preprocessing
from solo_registry.export.onnx import onnx_bytes, require_onnx
from solo_registry.paths import exists
from solo_registry.runs.loaded_run import LoadedRun
from solo_registry.runs.lock import held
from solo_registry.runs.read import json_text
from solo_registry.runs.run_folder import atomic_folder, atomic_write

FILES = {
    "timm": "model.safetensors",
    "huggingface": "model.safetensors",
    "torch": "backbone.pt",
    "onnx": "backbone.onnx",
}
"""The file of the weights, by target."""


def export_run(path: Path, to: str, out: Path | None, console: Console) -> Path:
    """Write the backbone of a finished run.

    Every target gets `README.md` (the model card), `recipe.yaml` (the config as given), the picture
    of tau, and the weights: `model.safetensors` for timm and huggingface, `backbone.pt` for torch,
    `backbone.onnx` for onnx, which holds the whole backbone.

    All is read and checked before anything is written.

    timm and huggingface also get `config.json`, which timm's loaders read: `local-dir:FOLDER` and,
    once the folder is on the Hub, `hf-hub:OWNER/NAME`. `config.json` cannot say that a ResNet has a
    3x3 stem. For such a ResNet use the target timm, which then leaves the file out; the card has
    the lines that rebuild the stem.

    Args:
        path: the run folder.
        to: "timm", "huggingface", "torch" or "onnx".
        out: the folder; `export/<to>` in the run by default.
        console: where the result is printed.

    Returns:
        The folder.

    Raises:
        UserError: an unknown target, no finished run, or a backbone that the target cannot rebuild.
    """
    if to not in FILES:
        raise UserError(f"unknown target '{to}'.{nearest(to, FILES)} Known: {', '.join(FILES)}")
    if to == "onnx":
        require_onnx()
    loaded = LoadedRun(path)
    run, cfg = loaded.folder, loaded.cfg
    result = run.read_result()
    if not loaded.is_last or result is None:
        raise UserError(
            f"{path} is not a finished run's folder: the card needs its result.json. "
            "Finish the run, or evaluate it: dyntemp evaluate RUN"
        )
    info, recipe = loaded.info(), loaded.recipe()
    used = {"mean": list(info.mean), "std": list(info.std)}
    if result.get("normalisation", used) != used:
        raise UserError(
            f"{run.data} and {run.result} name other means or deviations: one is damaged"
        )
    backbone = rebuild(cfg)
    weights = backbone_weights(loaded.read_checkpoint()["state_dict"], backbone)
    call: dict[str, Any] | None = getattr(backbone, "timm_call", None)
    check_target(to, cfg, call)
    picture = run.plots / "temperature.png"
    shown = picture.name if exists(picture) else None
    text = card(to, cfg, call, info, result, int(backbone.num_features), shown)  # type: ignore[arg-type]
    name = FILES[to]
    files = {
        name: packed(backbone, weights, to, cfg),
        "recipe.yaml": recipe.encode(),
        "README.md": text.encode(),
    }
    if call is not None and by_config(to, call):
        files["config.json"] = json_text(hub_config(cfg, call, info, backbone)).encode()
    out = out or run.path / "export" / to
    with held(out, console), atomic_folder(out.absolute(), last="README.md") as part:
        for file, content in files.items():
            with atomic_write(part / file) as written:
                written.write_bytes(content)
        if shown:
            shutil.copyfile(picture, part / shown)
    console.print(f"{name} and its model card are in {out}", soft_wrap=True, highlight=False)
    return out


def packed(backbone: nn.Module, weights: dict[str, Tensor], to: str, cfg: DictConfig) -> bytes:
    """Return the content of the file of weights; their own writers hide why a write fails."""
    if to == "onnx":
        return onnx_bytes(backbone, cfg.data.image_channels, cfg.augmentations[0].crop_size)
    if to != "torch":
        content: bytes = save(weights, metadata={"format": "pt"})
        return content
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def rebuild(cfg: DictConfig) -> nn.Module:
    """Build the backbone of a run's config, with untrained weights; needs no data."""
    kwargs = plain(cfg.backbone.kwargs)
    if kwargs.pop("pretrained", False) and cfg.augmentations[0].crop_size <= LOW_RESOLUTION:
        kwargs.setdefault("low_resolution", False)  # timm's weights need timm's own stem
    return build_backbone(
        cfg.backbone.name,
        in_channels=cfg.data.image_channels,
        image_size=cfg.augmentations[0].crop_size,
        **kwargs,
    )


def backbone_weights(state: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Return the backbone's weights from a run's state; all of them must fit.

    Raises:
        UserError: names or shapes differ.
    """
    prefix = "backbone."
    weights = {
        name.removeprefix(prefix): value.contiguous()
        for name, value in state.items()
        if name.startswith(prefix)
    }
    try:
        backbone.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:500]
        raise UserError(f"the checkpoint does not fit the run's backbone: {reason}") from error
    return weights


def check_target(to: str, cfg: DictConfig, call: dict[str, Any] | None) -> None:
    """Refuse a target that cannot rebuild the backbone."""
    if call is None and to not in ("torch", "onnx"):
        raise UserError(
            f"backbone '{cfg.backbone.name}' is not timm's: use --to torch or --to onnx"
        )
    if to == "huggingface" and call is not None and call["low_resolution"]:
        raise UserError(
            "timm's hub format rebuilds a model from arguments, and no argument of its ResNets "
            f"gives '{cfg.backbone.name}' its 3x3 stem for small images (stride 1, no pooling). "
            "Use --to timm: that folder's card has the lines that rebuild it, on the Hub too; or "
            "train with backbone.kwargs.low_resolution=false"
        )


def hub_config(
    cfg: DictConfig, call: dict[str, Any], info: SetInfo, backbone: nn.Module
) -> dict[str, Any]:
    """Return the content of config.json for timm's hub loader."""
    made: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    return {
        "architecture": call["model"].partition(".")[0],
        "num_classes": 0,
        "num_features": backbone.num_features,
        "model_args": {"in_chans": cfg.data.image_channels, **call["kwargs"]},
        "pretrained_cfg": {
            **preprocessing(cfg, info),
            "num_classes": 0,
            # the layers that timm replaces or adapts for other numbers of classes or channels
            "classifier": made.get("classifier"),
            "first_conv": first_convolution(backbone, made.get("first_conv")),
            "custom_load": False,
        },
    }


def first_convolution(backbone: nn.Module, known: str | None) -> str | None:
    """Return the name of the first convolution; `known` if the backbone has one of this name."""
    found = [name for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d)]
    return known if known in found else next(iter(found), None)
