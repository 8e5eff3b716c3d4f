"""The layout in which a network trains: the gradient does not depend on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig
from torch import nn

from solo_registry.backbones.layout import needs_channels_first
from solo_registry.config.resolve import resolve
from solo_registry.runs.model import rebuild_method

Tiny = Callable[..., DictConfig]
LAST = torch.channels_last


@pytest.mark.parametrize(
    ("channels", "last"), [([4, 4, 8, 8], False), ([8, 8, 16, 16], False), ([16, 16, 16, 16], True)]
)
def test_a_narrow_network_keeps_channels_first(tiny: Tiny, channels: list[int], last: bool) -> None:
    words = [f"backbone.kwargs.channels={channels}", "accelerator=cpu"]
    cfg = resolve(tiny("simclr", *words))
    cfg.data.num_classes, cfg.data.image_channels, cfg.data.train_images = 10, 1, 100
    model = rebuild_method(cfg)
    assert model.no_channel_last is not last
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels > 1]
    assert all(
        weight.is_contiguous(memory_format=LAST) is last
        for weight in weights
        if weight.shape[2:] == (3, 3)
    )


def gradient(convolution: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the weights for a loss of all pixels."""
    convolution.zero_grad()
    pixels = convolution(images)
    count = torch.arange(pixels.numel(), dtype=pixels.dtype)
    (pixels * count.cos().view_as(pixels)).sum().backward()
    assert convolution.weight.grad is not None
    return convolution.weight.grad.double().contiguous().clone()


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("inputs", [1, 3, 8, 16, 20])
@pytest.mark.parametrize("stride", [1, 2])
def test_where_it_is_left_alone_the_layout_changes_no_gradient(
    kernel: int, inputs: int, stride: int
) -> None:
    convolution = nn.Conv2d(inputs, 8, kernel, stride=stride, padding=kernel // 2, bias=False)
    if needs_channels_first(convolution):
        pytest.skip("is kept channels-first")
    for size in (1, 4, 7):
        images = torch.randn(6, inputs, size, size)
        wanted = gradient(convolution.double(), images.double())
        found = gradient(convolution.float().to(memory_format=LAST), images.to(memory_format=LAST))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
