"""Auxiliary classifiers of the papers' ImageNet experiments: InfoPro's for K=2, AugLocal's for VGG13."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from torch import nn

from localgrad.auxnets.truncated import Truncated
from localgrad.blocks import ConvBNReLU, PooledLinear


def infopro_imagenet_head(in_channels: int, num_classes: int) -> Truncated:
    """InfoPro's ImageNet head (released code; methods.md 5): h_BCHW to logits_BK.

    conv1x1 -> 128, conv3x3 -> 256 and -> 512 with stride 2, conv1x1 -> 2048, each with BN and ReLU; global average
    pooling, linear.
    """
    blocks = (
        ConvBNReLU(in_channels, 128, kernel=1),
        ConvBNReLU(128, 256, stride=2),
        ConvBNReLU(256, 512, stride=2),
        ConvBNReLU(512, 2048, kernel=1),
    )
    return Truncated(blocks, PooledLinear(2048, num_classes))


@final
@dataclass(frozen=True)
class FlatMLP:
    """AugLocal's ImageNet VGG13 classifier (methods.md 10.2): all features of a sample, averaged down to 512.

    Flatten, adaptive average pooling to ``width`` values, ``hidden`` x [Linear, BN, ReLU] of that width, Linear ->
    classes; the network's own classifier with its 4096 reduced to 512. Maps h_BCHW to logits_BK.
    """

    num_classes: int
    width: int = 512
    hidden: int = 2

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of flatten, pool, fcN, bnN, reluN, fc."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten(), pool=nn.AdaptiveAvgPool1d(self.width))
        for index in range(1, self.hidden + 1):
            layers[f"fc{index}"] = nn.Linear(self.width, self.width)
            layers[f"bn{index}"] = nn.BatchNorm1d(self.width)
            layers[f"relu{index}"] = nn.ReLU(inplace=True)
        layers["fc"] = nn.Linear(self.width, self.num_classes)
        return nn.Sequential(layers)
