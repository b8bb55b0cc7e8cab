"""Blocks of the deep ResNets: the Bottleneck, and the stem for large images (He et al. 2015)."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor, nn

from localgrad.blocks import conv_shape
from localgrad.errors import LocalgradError
from localgrad.spec import Shape

EXPANSION = 4


@final
class BottleneckModule(nn.Module):
    """relu(bn(conv1x1(relu(bn(conv3x3(relu(bn(conv1x1(x)))))))) + shortcut(x)), h_BCHW to h_BCHW.

    The stride is that of the 3x3 convolution, as in torchvision. ``inner`` is its width and ``inner_groups`` its number
    of convolution groups (ResNeXt); ``groups`` are those of the 1x1 convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, groups: int, *, inner: int, inner_groups: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner_groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, groups=groups, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))
        self.relu3 = nn.ReLU(inplace=True)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One residual block."""
        out = self.relu1(self.bn1(self.conv1(h_BCHW)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        # In place: BatchNorm's backward needs its input, not its output.
        out += h_BCHW if self.shortcut is None else self.shortcut(h_BCHW)
        result: Tensor = self.relu3(out)
        return result


@final
@dataclass(frozen=True)
class Bottleneck:
    """Spec of a residual block 1x1, 3x3, 1x1 whose inner width is a quarter of ``out_channels``."""

    in_channels: int
    out_channels: int
    stride: int = 1
    groups: int = 1

    def build(self) -> nn.Module:
        """A BottleneckModule."""
        inner = self.out_channels // EXPANSION
        return BottleneckModule(
            self.in_channels, self.out_channels, self.stride, self.groups, inner=inner, inner_groups=self.groups
        )

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "Bottleneck":
        """The same block for another input."""
        return replace(self, in_channels=in_channels, stride=stride, groups=groups)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "Bottleneck")


@final
@dataclass(frozen=True)
class LargeStem:
    """conv7x7 + BatchNorm + ReLU + max-pooling 3x3 of total stride 4: the first layer of ImageNet ResNets.

    ``stride`` 4 is 2 by the convolution and 2 by the pooling; 2 and 1 are by the convolution, without a pooling.
    """

    in_channels: int
    out_channels: int
    stride: int = 4
    groups: int = 1

    def __post_init__(self) -> None:
        if self.stride not in (1, 2, 4):
            raise LocalgradError(f"LargeStem: stride must be 1, 2 or 4, got {self.stride}.")

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of conv, bn, relu, [pool]."""
        conv = nn.Conv2d(self.in_channels, self.out_channels, 7, min(self.stride, 2), 3, groups=self.groups, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=conv, bn=nn.BatchNorm2d(self.out_channels), relu=nn.ReLU(inplace=True)
        )
        if self.stride == 4:
            layers["pool"] = nn.MaxPool2d(3, 2, 1)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "LargeStem":
        """The same layer for another input."""
        return replace(self, in_channels=in_channels, stride=stride, groups=groups)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "LargeStem")
