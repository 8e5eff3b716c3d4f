"""Wide ResNet (Zagoruyko and Komodakis, arXiv 1605.07146) for images of about 32 pixels.

The variant of semi-supervised learning, which solo-learn uses too: leaky ReLU, biased convolutions
and slow batch statistics. timm has only the wide form of the ImageNet ResNet.
"""

from __future__ import annotations

from torch import Tensor, nn


def _norm_act(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels, eps=1e-3, momentum=1e-3), nn.LeakyReLU(0.1, inplace=True)
    )


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after norm and activation, beside a shortcut.

    Args:
        pre_activate: feed the shortcut with the activated input too; the first block of the
            network does, as its input comes straight from the stem.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, drop_rate: float, pre_activate: bool
    ) -> None:
        super().__init__()
        self.pre_activate = pre_activate
        self.enter = _norm_act(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.middle = nn.Sequential(_norm_act(outputs), nn.Dropout(drop_rate))
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        activated = self.enter(x)
        shortcut: Tensor = self.shortcut(activated if self.pre_activate else x)
        residual: Tensor = self.conv2(self.middle(self.conv1(activated)))
        return shortcut + residual


class WideResNet(nn.Module):
    """Stem and three groups of blocks; forward maps (N, C, H, W) to (N, 64 * widen_factor).

    Args:
        widen_factor: channels of each group as a multiple of 16, 32 and 64.
        depth: layers with weights, 6n + 4.
        in_channels: channels of the images.
        first_stride: stride of the first group.
        drop_rate: dropout between the convolutions of a block, in [0, 1).
    """

    def __init__(
        self,
        widen_factor: int,
        *,
        depth: int = 28,
        in_channels: int = 3,
        first_stride: int = 1,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4 and at least 10, got {depth}")
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        layers: list[nn.Module] = [nn.Conv2d(in_channels, widths[0], 3, padding=1)]
        for group, stride in enumerate((first_stride, 2, 2)):
            for block in range((depth - 4) // 6):
                inputs = widths[group] if block == 0 else widths[group + 1]
                layers.append(
                    WideBlock(
                        inputs,
                        widths[group + 1],
                        stride if block == 0 else 1,
                        drop_rate,
                        pre_activate=group == block == 0,
                    )
                )
        self.num_features = widths[-1]
        self.layers = nn.Sequential(*layers, _norm_act(self.num_features))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean over positions of the last group's features."""
        features: Tensor = self.layers(x)
        return features.mean(dim=(2, 3))
