"""The model card: how to load the backbone, its results, and how it was trained."""

from __future__ import annotations

import html
import json
import math
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_registry.data.augment import eval_resize
from solo_registry.data.sets import SetInfo
from solo_registry.plots.tables import ROW_NAMES

LIBRARIES = {"torch": "pytorch", "onnx": "onnx"}
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


def prose(value: Any) -> str:
    """Return a value of a run's files as one line in which a browser sees no tags.

    >>> prose("<b>digits</b>")
    '&lt;b&gt;digits&lt;/b&gt;'
    """
    return html.escape(" ".join(str(value).split()), quote=False)


def card(
    to: str,
    cfg: DictConfig,
    call: dict[str, Any] | None,
    info: SetInfo,
    result: dict[str, Any],
    features: int,
    picture: str | None,
) -> str:
    """Write the card of one export.

    Args:
        to: the target.
        cfg: the run's config.
        call: the arguments of timm's constructor; None if the backbone is not timm's.
        info: facts about the run's data, with the mean and std that it used.
        result: the run's result.
        features: width of the features.
        picture: file name of the picture of tau beside the card, if there is one.
    """
    size, channels = cfg.augmentations[0].crop_size, cfg.data.image_channels
    mean, std, resize = list(info.mean), list(info.std), eval_resize(info, size)
    shown = f"![tau(s) over the similarities of positives and negatives]({picture})\n"
    return "\n".join(
        [
            "---",
            f"library_name: {LIBRARIES.get(to, 'timm')}",
            "tags: [image-feature-extraction, self-supervised, contrastive]",
            f"datasets: [{prose(cfg.data.dataset)}]",
            "---",
            "",
            prose(f"# {cfg.backbone.name}, pretrained by {cfg.method} on {cfg.data.dataset}"),
            "",
            f"Features (N, {features}) of images (N, {channels}, {size}, {size}).",
            f"An image's shorter side is resized to {resize} pixels (bicubic, antialiased), and "
            f"the central {size} x {size} pixels are kept.",
            f"Pixels in [0, 1] are normalised by mean {mean} and std {std}.",
            "",
            "## Load",
            "",
            "```python",
            *loading(to, cfg, call),
            *transform(cfg, info),
            "```",
            *further(to, call, channels),
            "",
            "## Result",
            "",
            *table(result),
            "",
            prose(
                f"Seed {result['seed']}, {result['epochs']} epochs, {result['train_images']} "
                f"training and {result['test_images']} test images, last epoch. "
                "One seed: no spread is known."
            ),
            "",
            *(
                prose(f"- {key}: {text}")
                for key, text in result["protocols"].items()
                if key in MEASURES
            ),
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
            prose(
                f"Config hash {result['config_hash']}. `recipe.yaml` is the config; in this folder"
            ),
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
    """Return lines of Python that build `model` with its weights, if run in the card's folder."""
    channels = cfg.data.image_channels
    if to == "onnx":
        return [
            "import numpy as np",
            "import onnxruntime",
            "import torch",
            "",
            'session = onnxruntime.InferenceSession("backbone.onnx")',
            "",
            "def model(images):  # float32 (N, C, H, W), preprocessed",
            '    return session.run(["features"], {"images": np.asarray(images)})[0]',
        ]
    if call is None:
        kwargs = "".join(f", {key}={value!r}" for key, value in plain(cfg.backbone.kwargs).items())
        build = [
            "# pip install 'solo-dyntemp[bench]'",
            "from solo_registry.backbones import build_backbone",
            "",
            f"model = build_backbone({cfg.backbone.name!r}, in_channels={channels}, "
            f"image_size={cfg.augmentations[0].crop_size}{kwargs})",
        ]
    elif by_config(to, call):
        return [
            "import timm",
            "import torch",
            "",
            'model = timm.create_model("local-dir:.", pretrained=True).eval()',
        ]
    else:
        kwargs = "".join(f", {key}={value!r}" for key, value in call["kwargs"].items())
        name = call["model"].partition(".")[0]
        made = f'"{name}", num_classes=0, in_chans={channels}{kwargs}'
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


def by_config(to: str, call: dict[str, Any] | None) -> bool:
    """Whether the folder has a config.json from which timm builds the model."""
    return to not in LIBRARIES and call is not None and not call["low_resolution"]


def transform(cfg: DictConfig, info: SetInfo) -> list[str]:
    """Return lines of Python that build `transform`, from a PIL image to `model`'s input.

    It resizes 8-bit tensors by torchvision, as our evaluation does. Pillow, by which timm's own
    transform resizes, rounds some pixels to the next of the 255 steps.
    """
    size = cfg.augmentations[0].crop_size
    return [
        "",
        "from torchvision.transforms import v2",
        "",
        "transform = v2.Compose([",
        "    v2.PILToTensor(),",
        f"    v2.Resize({eval_resize(info, size)}, interpolation=v2.InterpolationMode.BICUBIC),",
        f"    v2.CenterCrop({size}),",
        "    v2.ToDtype(torch.float32, scale=True),",
        f"    v2.Normalize(mean={list(info.mean)}, std={list(info.std)}),",
        "])",
    ]


def preprocessing(cfg: DictConfig, info: SetInfo) -> dict[str, Any]:
    """Return the timm data config whose transform does what our evaluation does.

    timm resizes by Pillow, so a pixel may differ by one of 255 steps.
    """
    size = cfg.augmentations[0].crop_size
    resize = eval_resize(info, size)
    share = size / resize
    if math.floor(size / share) != resize:  # how timm computes it back
        share = size / (resize + 0.5)
    return {
        "input_size": [cfg.data.image_channels, size, size],
        "crop_pct": share,
        "crop_mode": "center",
        "interpolation": "bicubic",
        "mean": list(info.mean),
        "std": list(info.std),
    }


def further(to: str, call: dict[str, Any] | None, channels: int) -> list[str]:
    """Return the text on the transform's input, and on adding a classifier or other channels."""
    mode = {1: "L", 3: "RGB"}.get(channels)
    lines = ["", "`transform` gives the pixels of our evaluation."]
    if mode:
        lines += [
            f"Give it an upright 8-bit image: `ImageOps.exif_transpose(image).convert('{mode}')`."
        ]
    if call is None or to == "onnx":
        return lines
    if not by_config(to, call):
        return [*lines, "A classifier comes by `model.reset_classifier(10)`."]
    return [
        *lines,
        "timm's own transform, which `config.json` describes, resizes by Pillow: its pixels differ "
        "by up to 1/255, and the features a little.",
        "In `create_model`, `num_classes=10` adds a classifier, and `in_chans=1` or `3` fits the "
        "first layer to images of so many channels.",
    ]


def table(result: dict[str, Any]) -> list[str]:
    """Return the measured rows as a Markdown table."""
    heads = [head for head, _ in MEASURES.values()]
    lines = [f"| features | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, row in result["results"].items():
        cells = [
            format(row[key], form) if isinstance(row.get(key), int | float) else "-"
            for key, (_, form) in MEASURES.items()
        ]
        lines.append(f"| {prose(ROW_NAMES.get(name, name))} | {' | '.join(cells)} |")
    return lines
