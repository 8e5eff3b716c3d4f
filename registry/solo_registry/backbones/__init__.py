"""Backbones: any timm model, solo-learn's short names, and small ones for a laptop.

A backbone maps images (N, C, H, W) to pooled features (N, num_features). torch and timm are
imported when a backbone is built, never before.

Three rules adapt a timm model to the data:

- the input has the data's number of channels;
- a ResNet for images of at most 64 pixels gets a *low-resolution stem*: one 3x3 convolution of
  stride 1 and no max-pooling in place of the 7x7 convolution of stride 2 with max-pooling, which
  would throw away 15 of 16 positions of a 32-pixel image. `low_resolution=True/False` overrides;
- transformers get the data's image size, and solo-learn's `vit_*` and `swin_*` also a patch size
  that suits it; `patch_size=...` overrides.
"""

from __future__ import annotations

import fnmatch
from functools import partial
from typing import TYPE_CHECKING, Any

from solo_registry.catalog.registry import BACKBONES
from solo_registry.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import nn

LOW_RESOLUTION = 64
PREFIX = "timm/"
# arguments of timm's that name a file or an address; what lies there could be another person's
OF_FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def build_backbone(name: str, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    """Build the backbone `name` for images (N, in_channels, image_size, image_size).

    Args:
        name: a name in `BACKBONES`, or `timm/<model>` for any model of timm.
        in_channels: channels of the images, at least 1.
        image_size: height and width of the largest crop, in pixels.
        **kwargs: passed on to the model. `low_resolution: bool | None` chooses the stem of a
            ResNet, `pretrained=True` loads timm's weights (and keeps the stem they belong to,
            unless `low_resolution=True`).

    Returns:
        A module with `num_features: int` and forward (N, C, H, W) -> (N, num_features).

    Raises:
        UserError: the name is unknown, an argument is not the model's, or the model cannot take
            images of this size.

    >>> backbone = build_backbone("timm/resnet10t", in_channels=1, image_size=28)
    >>> backbone.num_features
    512
    """
    if in_channels < 1 or image_size < 1:
        raise UserError(
            "a backbone needs at least 1 channel and 1 pixel, "
            f"got in_channels={in_channels}, image_size={image_size}"
        )
    if files := sorted(kwargs.keys() & set(OF_FILES)):
        raise UserError(
            f"backbone.kwargs.{files[0]} is not allowed: it loads a file or an address. "
            "backbone.kwargs.pretrained=true loads timm's own weights"
        )
    if name in BACKBONES:
        build = BACKBONES.get(name)
    elif name.startswith(PREFIX):
        build = partial(_timm_by_name, name.removeprefix(PREFIX))
    else:
        raise _unknown(name)
    try:
        backbone: nn.Module = build(in_channels=in_channels, image_size=image_size, **kwargs)
    except TypeError as error:
        raise UserError(f"backbone '{name}' does not take {kwargs}: {error}") from error
    return _checked(backbone, name, in_channels, image_size)


def backbone_names(pattern: str = "*") -> list[str]:
    """Return the sorted names that match a shell pattern, timm's as `timm/<model>`.

    timm is imported only for a pattern that can match its models.
    """
    names = BACKBONES.names(pattern)
    if fnmatch.fnmatch(PREFIX, pattern[: len(PREFIX)]) or pattern.startswith("*"):
        names += fnmatch.filter((PREFIX + model for model in _timm_models()), pattern)
    return sorted(names)


def _timm_models() -> list[str]:
    import timm

    models: list[str] = timm.list_models()
    return models


def _unknown(name: str) -> UserError:
    of_timm = [PREFIX + model for model in _timm_models()]
    full = PREFIX + name.removeprefix(PREFIX)
    short = "" if name.startswith(PREFIX) or full in of_timm else nearest(name, BACKBONES)
    hint = short or nearest(full, of_timm)
    return UserError(
        f"unknown backbone '{name}'.{hint} Known: {', '.join(BACKBONES.names())}, "
        f"and {PREFIX}<model> for any model of timm"
    )


def _timm_by_name(model: str, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    """Build any timm model, with the image size where its architecture fixes one."""
    import timm

    # A tag after a dot names pretrained weights of the same model.
    if not timm.is_model(model.partition(".")[0]):
        raise _unknown(PREFIX + model)
    settings = timm.get_pretrained_cfg(model)
    if settings is None or not settings.fixed_input_size:
        return _timm(model, in_channels, image_size, **kwargs)
    kwargs.setdefault("img_size", image_size)
    try:
        # Lets the small crops of multi-crop through; it changes nothing for the others.
        flexible = {"dynamic_img_size": True} | kwargs
        backbone = _timm(model, in_channels, image_size, **flexible)
    except UserError as error:
        if "'dynamic_img_size'" not in str(error) or "dynamic_img_size" in kwargs:
            raise
        backbone = _timm(model, in_channels, image_size, **kwargs)
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if patch is not None:
        _patch_size(model, image_size, (), max(patch))
    return backbone


def _timm(
    model: str,
    in_channels: int,
    image_size: int,
    *,
    low_resolution: bool | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Create a timm model without classifier and fit its stem to the image size."""
    import timm
    from timm.models.resnet import ResNet

    try:
        backbone: nn.Module = timm.create_model(
            model, num_classes=0, in_chans=in_channels, **kwargs
        )
    except (TypeError, AssertionError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"timm cannot build '{model}' for {image_size}-pixel images with {kwargs}: {error}"
        ) from error
    if low_resolution is None:
        is_small = image_size <= LOW_RESOLUTION and not kwargs.get("pretrained", False)
        low_resolution = is_small and isinstance(backbone, ResNet)
    if low_resolution:
        if not isinstance(backbone, ResNet):
            raise UserError(f"low_resolution=True is for timm's ResNets, '{model}' is none")
        _use_low_resolution_stem(backbone, in_channels)
    made = {key: value for key, value in kwargs.items() if key != "pretrained"}
    call = {"model": model, "kwargs": made, "low_resolution": low_resolution}
    object.__setattr__(backbone, "timm_call", call)  # what makes it again, for export
    return backbone


def _use_low_resolution_stem(resnet: Any, in_channels: int) -> None:
    from torch import nn

    width = resnet.bn1.num_features
    resnet.conv1 = nn.Conv2d(in_channels, width, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
    resnet.maxpool = nn.Identity()


def _resnet(
    model: str,
    *,
    in_channels: int,
    image_size: int,
    zero_init_residual: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """Build a ResNet with torchvision's (and so solo-learn's) name and default for zero init."""
    kwargs.setdefault("zero_init_last", zero_init_residual)
    return _timm(model, in_channels, image_size, **kwargs)


def _vit(model: str, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    patch = _patch_size(model, image_size, (16, 8, 4, 2, 1), kwargs.pop("patch_size", None))
    # dynamic_img_size lets the small crops of multi-crop through; it changes nothing for others.
    kwargs = {"dynamic_img_size": True, "img_size": image_size, "patch_size": patch} | kwargs
    return _timm(model, in_channels, image_size, **kwargs)


def _swin(model: str, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    patch = _patch_size(model, image_size, (4, 2, 1), kwargs.pop("patch_size", None))
    kwargs = {"dynamic_img_size": True, "img_size": image_size, "patch_size": patch} | kwargs
    return _timm(model, in_channels, image_size, **kwargs)


def _convolutional(model: str, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    return _timm(model, in_channels, image_size, **kwargs)


def _patch_size(model: str, image_size: int, candidates: tuple[int, ...], asked: int | None) -> int:
    """Return `asked` if it divides the image, else the largest candidate with 8x8 patches.

    >>> [_patch_size("vit", size, (16, 8, 4, 2, 1), None) for size in (224, 96, 32, 28, 8)]
    [16, 8, 4, 2, 1]
    """
    if asked is None:
        roomy = (size for size in candidates if image_size // size >= 8 and image_size % size == 0)
        return next(roomy, 1)
    if asked < 1 or image_size % asked:
        allowed = [size for size in range(1, image_size + 1) if image_size % size == 0]
        raise UserError(
            f"{model}: patch_size={asked} does not divide the image size {image_size}; "
            f"allowed: {', '.join(map(str, allowed))}"
        )
    return asked


def _wide(widen_factor: int, *, in_channels: int, image_size: int, **kwargs: Any) -> nn.Module:
    """Build a WideResNet-28; its stem is a low-resolution one for every image size."""
    from solo_registry.backbones.wide_resnet import WideResNet

    return WideResNet(widen_factor, in_channels=in_channels, **kwargs)


def _checked(backbone: nn.Module, name: str, in_channels: int, image_size: int) -> nn.Module:
    """Push one black image through `backbone`; set `num_features` to what comes out."""
    import torch

    was_training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(1, in_channels, image_size, image_size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"backbone '{name}' cannot take images of {in_channels}x{image_size}x{image_size} "
            f"(channels, height, width): {error}. "
            "A larger augmentations crop_size or another backbone helps."
        ) from error
    backbone.train(was_training)
    if features.ndim != 2:
        raise UserError(
            f"backbone '{name}' gives features of shape {tuple(features.shape)}, not (N, D)"
        )
    # Some timm models (MobileNetV3) count their features before the last layer.
    backbone.num_features = features.shape[1]
    return backbone


resnet18 = partial(_resnet, "resnet18")
resnet50 = partial(_resnet, "resnet50")
# Half the usual channels, for small images on a CPU; a deep stem is the only one that can be thin.
_narrow = partial(_resnet, "resnet18", channels=(32, 64, 128, 256), stem_type="deep", stem_width=16)
resnet10_narrow = partial(_narrow, layers=(1, 1, 1, 1))
resnet18_narrow = partial(_narrow, layers=(2, 2, 2, 2))
wide_resnet28w2 = partial(_wide, 2)
wide_resnet28w8 = partial(_wide, 8)
vit_tiny = partial(_vit, "vit_tiny_patch16_224")
vit_small = partial(_vit, "vit_small_patch16_224")
vit_base = partial(_vit, "vit_base_patch16_224")
vit_large = partial(_vit, "vit_large_patch16_224")
swin_tiny = partial(_swin, "swin_tiny_patch4_window7_224")
swin_small = partial(_swin, "swin_small_patch4_window7_224")
swin_base = partial(_swin, "swin_base_patch4_window7_224")
swin_large = partial(_swin, "swin_large_patch4_window7_224")
poolformer_s12 = partial(_convolutional, "poolformer_s12")
poolformer_s24 = partial(_convolutional, "poolformer_s24")
poolformer_s36 = partial(_convolutional, "poolformer_s36")
poolformer_m36 = partial(_convolutional, "poolformer_m36")
poolformer_m48 = partial(_convolutional, "poolformer_m48")
convnext_tiny = partial(_convolutional, "convnext_tiny")
convnext_small = partial(_convolutional, "convnext_small")
convnext_base = partial(_convolutional, "convnext_base")
convnext_large = partial(_convolutional, "convnext_large")
