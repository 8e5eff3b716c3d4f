import subprocess
import sys
from typing import Any

import pytest
import timm
import torch
from torch import nn

import solo_registry.catalog.builtin  # noqa: F401  (registers the short names)
from solo_registry.backbones import backbone_names, build_backbone
from solo_registry.backbones.wide_resnet import WideResNet
from solo_registry.catalog.registry import BACKBONES
from solo_registry.errors import UserError

# solo-learn's names, and two of ours
SMALL = ("resnet10_narrow", "resnet18_narrow", "resnet18", "wide_resnet28w2")
SHORT = (
    *SMALL,
    "resnet50", "vit_tiny", "vit_small", "vit_base", "vit_large",
    "swin_tiny", "swin_small", "swin_base", "swin_large",
    "poolformer_s12", "poolformer_s24", "poolformer_s36", "poolformer_m36", "poolformer_m48",
    "convnext_tiny", "convnext_small", "convnext_base", "convnext_large", "wide_resnet28w8",
)  # fmt: skip


@pytest.mark.parametrize("size", [8, 28])
@pytest.mark.parametrize("name", SMALL)
def test_pooled_features_of_small_grey_images(name: str, size: int) -> None:
    backbone = build_backbone(name, in_channels=1, image_size=size)
    features = backbone(torch.rand(2, 1, size, size))
    assert features.shape == (2, backbone.num_features)
    assert features.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features"),
    [("vit_tiny", 192), ("poolformer_s12", 512), ("convnext_tiny", 768)],
)
def test_the_other_families_at_32_pixels(name: str, features: int) -> None:
    backbone = build_backbone(name, in_channels=3, image_size=32)
    assert backbone.num_features == features
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, features)


def test_every_short_name_has_its_function() -> None:
    assert set(SHORT) <= set(BACKBONES)
    assert all(callable(BACKBONES.get(name)) for name in SHORT)


def stem_of(**kwargs: Any) -> Any:
    return build_backbone("resnet18", in_channels=3, **kwargs)


@pytest.mark.parametrize(("size", "is_low"), [(64, True), (65, False)])
def test_image_size_chooses_the_stem(size: int, is_low: bool) -> None:
    backbone = stem_of(image_size=size)
    assert backbone.conv1.kernel_size == ((3, 3) if is_low else (7, 7))
    assert isinstance(backbone.maxpool, nn.Identity) == is_low
    grid = backbone.forward_features(torch.rand(2, 3, size, size)).shape[-1]
    assert grid == -(-size // (8 if is_low else 32))


def test_low_resolution_stem_keeps_every_position() -> None:
    conv = stem_of(image_size=32).conv1
    assert isinstance(conv, nn.Conv2d)
    assert (conv.stride, conv.padding) == ((1, 1), (1, 1))
    assert conv(torch.rand(1, 3, 32, 32)).shape == (1, 64, 32, 32)


def test_low_resolution_overrides_the_rule() -> None:
    assert stem_of(image_size=32, low_resolution=False).conv1.kernel_size == (7, 7)
    assert stem_of(image_size=96, low_resolution=True).conv1.kernel_size == (3, 3)
    with pytest.raises(UserError, match="low_resolution=True is for timm's ResNets"):
        build_backbone("convnext_tiny", in_channels=3, image_size=32, low_resolution=True)


def test_narrow_resnet_is_small_at_any_size() -> None:
    for size in (32, 96):
        backbone = build_backbone("resnet10_narrow", in_channels=1, image_size=size)
        assert sum(weight.numel() for weight in backbone.parameters()) < 1.3e6
        assert backbone.num_features == 256


def test_zero_init_residual_has_torchvisions_default() -> None:
    backbones: list[Any] = [
        build_backbone("resnet10_narrow", in_channels=1, image_size=8, **kwargs)
        for kwargs in ({}, {"zero_init_residual": True})
    ]
    last_norms = [backbone.layer1[0].bn2 for backbone in backbones]
    assert [norm.weight.eq(0).all().item() for norm in last_norms] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_tiny", "timm/vit_tiny_patch16_224"])
def test_transformers_take_the_small_crops_of_multicrop(name: str) -> None:
    backbone = build_backbone(name, in_channels=3, image_size=64)
    assert backbone(torch.rand(2, 3, 32, 32)).shape == (2, backbone.num_features)


def test_patch_size_can_be_chosen_and_must_divide() -> None:
    backbone: Any = build_backbone("vit_tiny", in_channels=1, image_size=28, patch_size=7)
    assert backbone.patch_embed.num_patches == 16
    with pytest.raises(
        UserError, match=r"patch_size=16 does not divide .* 28; allowed: 1, 2, 4, 7"
    ):
        build_backbone("vit_tiny", in_channels=1, image_size=28, patch_size=16)
    with pytest.raises(UserError, match="patch_size=14 does not divide"):
        build_backbone("timm/eva02_tiny_patch14_224", in_channels=3, image_size=32)


def test_num_features_is_what_comes_out() -> None:
    # timm says 576 for this one, and gives 1024
    backbone = build_backbone("timm/mobilenetv3_small_050", in_channels=3, image_size=32)
    assert backbone(torch.rand(2, 3, 32, 32)).shape[1] == backbone.num_features == 1024


def test_a_new_backbone_is_in_training_mode() -> None:
    backbone: Any = build_backbone("resnet10_narrow", in_channels=1, image_size=8)
    assert all(module.training for module in backbone.modules())
    assert backbone.bn1.num_batches_tracked == 0


def test_wide_resnet_depth_and_stride() -> None:
    count = sum(isinstance(module, nn.Conv2d) for module in WideResNet(1, depth=28).modules())
    assert count == 1 + 24 + 3 - 1  # the first group keeps its 16 channels: no shortcut convolution
    with pytest.raises(ValueError, match=r"6n \+ 4 and at least 10, got 27"):
        WideResNet(2, depth=27)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet81", "'resnet18'"),
        ("timm/resnet188", "'timm/resnet18"),
        ("mobilenetv3_small_05", "'timm/mobilenetv3_small_0"),
    ],
)
def test_unknown_names_get_the_nearest_known_one(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=f"unknown backbone '{name}'. Did you mean {hint}"):
        build_backbone(name, in_channels=3, image_size=32)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(UserError, match="dropped_rate"):
        build_backbone("resnet18", in_channels=3, image_size=32, dropped_rate=0.1)
    with pytest.raises(UserError, match="dropped_rate"):
        build_backbone("wide_resnet28w2", in_channels=3, image_size=32, dropped_rate=0.1)
    with pytest.raises(UserError, match=r"'convnext_tiny' cannot take images of 1x8x8"):
        build_backbone("convnext_tiny", in_channels=1, image_size=8)
    with pytest.raises(UserError, match="in_channels=0"):
        build_backbone("resnet18", in_channels=0, image_size=8)
    with pytest.raises(UserError, match=r"not \(N, D\)"):
        build_backbone("timm/resnet10t", in_channels=1, image_size=8, global_pool="")


def test_names_glob_over_both() -> None:
    assert backbone_names("resnet1*_narrow") == ["resnet10_narrow", "resnet18_narrow"]
    assert backbone_names("timm/resnet18*") == [f"timm/{m}" for m in timm.list_models("resnet18*")]
    assert {"vit_tiny", "timm/vit_tiny_patch16_224"} <= set(backbone_names("*vit_tiny*"))


def test_import_and_short_names_load_neither_torch_nor_timm() -> None:
    code = (
        "import sys, solo_registry.backbones as b; b.backbone_names('res*');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'timm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "key", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"]
)
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny", "timm/resnet10t"])
def test_no_argument_loads_a_file_or_an_address(name: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"backbone\.kwargs\.{key} is not allowed"):
        build_backbone(name, in_channels=1, image_size=8, **{key: "weights.pth"})
