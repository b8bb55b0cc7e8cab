"""The XcYf family of heads: X convolutions and Y fully connected layers (InfoPro, GN-DGL; methods.md 2.2)."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from localgrad.blocks import ConvBNReLU
from localgrad.errors import LocalgradError
from localgrad.pooling import GlobalAvgPool
from localgrad.spec import Shape


@final
@dataclass(frozen=True)
class ConvFC:
    """``convs`` x [conv3x3, BN, ReLU], global average pooling, ``fcs`` linear layers with ReLU between them.

    The first convolution maps ``in_channels`` to ``conv_channels`` with ``stride``, a second one keeps both.
    ``1c2f``: convs=1, fcs=2; ``0c1f`` is global pooling and a linear classifier. Maps h_BCHW to logits_BK.
    """

    in_channels: int
    num_classes: int
    conv_channels: int
    stride: int
    convs: int = 1
    fcs: int = 2
    hidden: int = 128

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of convN, pool, fcN."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels, stride = self.in_channels, self.stride
        for index in range(1, self.convs + 1):
            layers[f"conv{index}"] = ConvBNReLU(channels, self.conv_channels, stride=stride).build()
            channels, stride = self.conv_channels, 1
        layers["pool"] = GlobalAvgPool()
        for index in range(1, self.fcs):
            layers[f"fc{index}"] = nn.Linear(channels, self.hidden)
            layers[f"relu{index}"] = nn.ReLU(inplace=True)
            channels = self.hidden
        layers[f"fc{self.fcs}"] = nn.Linear(channels, self.num_classes)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ConvFC":
        """The same head for another number of channels."""
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LocalgradError(f"ConvFC: expected input of shape ({self.in_channels}, H, W), got {tuple(shape)}.")
        return (self.num_classes,)
