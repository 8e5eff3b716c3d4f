"""Files as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from solo_registry.backbones import build_backbone
from solo_registry.backbones.weights import load_backbone
from solo_registry.errors import UserError


def small(width: int = 8) -> nn.Module:
    return build_backbone(
        "resnet18_narrow", in_channels=1, image_size=8, channels=[width, width, 16, 16]
    )


def prefixed(state: dict[str, Any], prefix: str, **more: Any) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()} | more


EXTRA = {"projector.0.weight": torch.ones(2, 2), "fc.weight": torch.ones(3)}
FILES = {
    "plain torch": lambda state: state,
    "torchvision, with its classifier": lambda state: state | {"fc.weight": torch.ones(3)},
    "DataParallel": lambda state: {"state_dict": prefixed(state, "module."), "epoch": 3},
    "solo-learn, ours": lambda state: {"state_dict": prefixed(state, "backbone.") | EXTRA},
    "momentum beside it": lambda state: {
        "state_dict": prefixed(state, "backbone.")
        | {f"momentum_backbone.{name}": torch.zeros_like(value) for name, value in state.items()}
    },
    "MoCo": lambda state: {"state_dict": prefixed(state, "module.encoder_q.") | EXTRA},
    "DINO": lambda state: {"teacher": prefixed(state, "module.backbone."), "args": None},
    "without counts": lambda state: {
        name: value for name, value in state.items() if "num_batches" not in name
    },
}


@pytest.mark.parametrize("kind", FILES)
def test_every_programs_file_gives_the_same_backbone(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, target = small().eval(), small().eval()
    images = torch.randn(2, 1, 8, 8)
    path = tmp_path / "file.pth"
    torch.save(FILES[kind](source.state_dict()), path)
    fitted = load_backbone(target, path)
    with torch.no_grad():
        assert torch.equal(source(images), target(images))
    assert fitted.used >= len([n for n in source.state_dict() if "num_batches" not in n])


def test_safetensors(tmp_path: Path) -> None:
    source, target = small(), small()
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    load_backbone(target, tmp_path / "model.safetensors")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)


class Evil:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code ran')",))


def test_a_stem_for_large_images_is_named(tmp_path: Path) -> None:
    large = build_backbone("timm/resnet18", in_channels=3, image_size=224)
    torch.save(large.state_dict(), tmp_path / "large.pth")
    net = build_backbone("timm/resnet18", in_channels=3, image_size=28)
    with pytest.raises(UserError, match=r"image size; backbone.kwargs.low_resolution=false gives"):
        load_backbone(net, tmp_path / "large.pth")
    net = build_backbone("timm/resnet18", in_channels=3, image_size=28, low_resolution=False)
    load_backbone(net, tmp_path / "large.pth")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    cases: list[tuple[Any, str]] = [
        (small(16).state_dict(), "other shapes: layer1.0.conv1.weight is"),
        ({"conv1.weight": small().state_dict()["conv1.weight"]}, "lacks bn1.weight.* more"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        ({"state_dict": Evil()}, "cannot read weights"),
    ]
    for content, message in cases:
        torch.save(content, path)
        target = small()
        before = {name: value.clone() for name, value in target.state_dict().items()}
        with pytest.raises(UserError, match=message):
            load_backbone(target, path)
        assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())
    path.write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot read weights"):
        load_backbone(small(), path)
    with pytest.raises(UserError, match="no weights at"):
        load_backbone(small(), tmp_path / "none.pt")
