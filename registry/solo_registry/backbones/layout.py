"""Which networks must keep the channels-first layout on a CPU."""

from __future__ import annotations

from torch import nn

BLOCK = 16  # channels that oneDNN's kernels write at once: 8 with AVX2, 16 with AVX512


def needs_channels_first(network: nn.Module) -> bool:
    """Whether oneDNN computes a weight gradient of the network wrongly in the channels-last layout.

    oneDNN (3.12, in torch 2.14) writes past its workspace in the weight gradient of a strided 1x1
    convolution that has fewer input channels than its kernel takes at once. The gradient is wrong,
    or the process crashes (oneDNN's issue 6035). It was seen on a CPU with AVX2, below 8 channels.

    >>> needs_channels_first(nn.Conv2d(4, 8, 1, stride=2)), needs_channels_first(nn.Conv2d(4, 8, 1))
    (True, False)
    >>> needs_channels_first(nn.Conv2d(64, 128, 1, stride=2))
    False
    """
    return any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups < BLOCK
        for module in network.modules()
    )
