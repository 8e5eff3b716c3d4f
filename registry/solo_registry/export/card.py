"""The model card: how to load the backbone, what it scored, and how it was made."""

from __future__ import annotations

import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_registry.evaluation.table import ROW_NAMES

MEASURES = {
    "knn_acc1": ("kNN %", ".2f"),
    "linear_acc1": ("linear probe %", ".2f"),
    "uniformity": ("uniformity", ".3f"),
    "tolerance": ("tolerance", ".3f"),
    "alignment": ("alignment", ".3f"),
    "rankme": ("RankMe", ".1f"),
}


def plain(node: Any) -> dict[str, Any]:
    """Return a config section as plain Python values."""
    content: Any = OmegaConf.to_container(node, resolve=True)
    return dict(content)


def card(
    to: str,
    cfg: DictConfig,
    call: dict[str, Any] | None,
    result: dict[str, Any],
    features: int,
    picture: str | None,
) -> str:
    """Write the card of one export.

    Args:
        to: the target.
        cfg: the run's config.
        call: how timm makes the backbone; None if it is not timm's.
        result: the run's result.
        features: width of the features.
        picture: file name of the picture of tau beside the card, if there is one.
    """
    size, channels = cfg.augmentations[0].crop_size, cfg.data.image_channels
    mean, std = (result["normalisation"][key] for key in ("mean", "std"))
    shown = f"![tau(s) over the similarities of positives and negatives]({picture})\n"
    return "\n".join(
        [
            "---",
            f"library_name: {'pytorch' if to == 'torch' else 'timm'}",
            "tags: [image-feature-extraction, self-supervised, contrastive]",
            f"datasets: [{cfg.data.dataset}]",
            "---",
            "",
            f"# {cfg.backbone.name}, pretrained by {cfg.method} on {cfg.data.dataset}",
            "",
            f"Features (N, {features}) of images (N, {channels}, {size}, {size}).",
            f"Pixels in [0, 1] are normalised by mean {mean} and std {std}.",
            "",
            "## Load",
            "",
            "```python",
            *loading(to, cfg, call),
            "```",
            "",
            "## Result",
            "",
            *table(result),
            "",
            f"Seed {result['seed']}, {result['epochs']} epochs, {result['train_images']} training "
            f"and {result['test_images']} test images, last epoch. One seed: no spread is known.",
            "",
            *(f"- {key}: {text}" for key, text in result["protocols"].items() if key in MEASURES),
            "",
            "## Temperature",
            "",
            shown if picture else "No picture was drawn (`evaluation.pictures=false`).\n",
            "```json",
            json.dumps(result["method_kwargs"], indent=2),
            "```",
            "",
            "## Recipe",
            "",
            f"Config hash {result['config_hash']}. `recipe.yaml` is the config; in this folder",
            "",
            "```bash",
            'dyntemp pretrain --config-path "$PWD" --config-name recipe',
            "```",
            "",
            "trains it again.",
            "",
        ]
    )


def loading(to: str, cfg: DictConfig, call: dict[str, Any] | None) -> list[str]:
    """Lines of Python that make `model` with its weights, run in the card's folder."""
    channels = cfg.data.image_channels
    if call is None:
        kwargs = "".join(f", {key}={value!r}" for key, value in plain(cfg.backbone.kwargs).items())
        build = [
            "from solo_registry.backbones import build_backbone  # pip install solo-dyntemp",
            "",
            f"model = build_backbone({cfg.backbone.name!r}, in_channels={channels}, "
            f"image_size={cfg.augmentations[0].crop_size}{kwargs})",
        ]
    elif to == "huggingface":
        return [
            "import timm",
            "",
            'model = timm.create_model("local-dir:.", pretrained=True).eval()',
        ]
    else:
        kwargs = "".join(f", {key}={value!r}" for key, value in call["kwargs"].items())
        name = call["model"].partition(".")[0]
        made = f'"{name}", num_classes=0, in_chans={channels}{kwargs}'
        if to == "timm" and not call["low_resolution"]:
            return [
                "import timm",
                "",
                f'model = timm.create_model({made}, checkpoint_path="model.safetensors").eval()',
            ]
        build = ["import timm", "", f"model = timm.create_model({made})"]
        if call["low_resolution"]:
            build += [
                "# the stem for small images, for which timm has no argument",
                f"model.conv1 = torch.nn.Conv2d({channels}, model.bn1.num_features, 3, padding=1, "
                "bias=False)",
                "model.maxpool = torch.nn.Identity()",
            ]
    read = 'torch.load("backbone.pt", weights_only=True)'
    if to != "torch":
        build = ["from safetensors.torch import load_file", *build]
        read = 'load_file("model.safetensors")'
    return ["import torch", *build, f"model.load_state_dict({read}, strict=True)", "model.eval()"]


def table(result: dict[str, Any]) -> list[str]:
    """The measured rows as Markdown."""
    heads = [head for head, _ in MEASURES.values()]
    lines = [f"| features | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in result["results"].items():
        cells = [
            "-" if row.get(key) is None else format(row[key], form)
            for key, (_, form) in MEASURES.items()
        ]
        lines.append(f"| {ROW_NAMES.get(name, name)} | {' | '.join(cells)} |")
    return lines
