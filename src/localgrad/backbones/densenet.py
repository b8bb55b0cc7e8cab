"""DenseNet-BC for small images (Huang, Liu, van der Maaten, Weinberger 2017, section 3 and table 2).

Three stages of (layers - 4) / 6 dense layers, each of which appends ``growth`` channels to what it reads; bottlenecks
of 4 ``growth`` channels, transitions that halve channels and maps. What crosses between two layers is the whole
concatenation, one tensor, so every layer is a block. BatchNorm and ReLU come before a convolution: a block's output,
and what an auxiliary network behind it reads, is not normalised.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from localgrad.backbones.checks import check_task, widened
from localgrad.blocks import conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.pooling import GlobalAvgPool
from localgrad.spec import Backbone, Block, Shape

_BOTTLENECK = 4
# Channels of a CIFAR ResNet's stages per channel of growth 12: what XcYf heads take for the widths of the stages.
_HEAD_WIDTHS = (16, 32, 64)


@final
@dataclass(frozen=True)
class PlainConv:
    """conv3x3 (no bias) alone: the stem; the first dense layer normalises what it makes."""

    in_channels: int
    out_channels: int
    stride: int = 1

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of conv."""
        conv = nn.Conv2d(self.in_channels, self.out_channels, 3, self.stride, 1, bias=False)
        return nn.Sequential(OrderedDict(conv=conv))

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "PlainConv":
        """The same layer for another input. Raises LocalgradError for groups."""
        _no_groups("PlainConv", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "PlainConv")


@final
class DenseLayerModule(nn.Module):
    """cat(x, conv3x3(relu(bn(conv1x1(relu(bn(x))))))), h_BCHW to C + growth channels."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        inner = _BOTTLENECK * growth
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """What came in, and behind it the new channels."""
        out = self.conv1(self.relu1(self.bn1(h_BCHW)))
        return torch.cat((h_BCHW, self.conv2(self.relu2(self.bn2(out)))), 1)


@final
@dataclass(frozen=True)
class DenseLayer:
    """Spec of a dense layer (two convolutions): ``in_channels`` to ``in_channels + growth``."""

    in_channels: int
    growth: int

    def build(self) -> nn.Module:
        """A DenseLayerModule."""
        return DenseLayerModule(self.in_channels, self.growth)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "DenseLayer":
        """The same layer behind as many channels and on a map of the same size.

        Raises LocalgradError for everything else: the channels that a layer hands on are those that it reads and more.
        """
        _no_groups("DenseLayer", groups)
        if in_channels != self.in_channels or stride != 1:
            raise LocalgradError(
                f"DenseLayer: a layer that appends {self.growth} channels to the {self.in_channels} that it reads "
                f"cannot be copied behind {in_channels} channels with stride {stride}. Take a method that copies no "
                "later layers (DGL, InfoPro), or AugLocal(selection='sequential'), which copies the next ones."
            )
        return self

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.in_channels + self.growth, 1, "DenseLayer")


@final
@dataclass(frozen=True)
class Transition:
    """BatchNorm + ReLU + conv1x1 (no bias) + 2x2 average pooling (at stride 2): between two stages.

    A map of odd size is halved to the next larger one.
    """

    in_channels: int
    out_channels: int
    stride: int = 2

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of bn, relu, conv, [pool]."""
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            bn=nn.BatchNorm2d(self.in_channels),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(self.in_channels, self.out_channels, 1, bias=False),
        )
        if self.stride != 1:
            layers["pool"] = nn.AvgPool2d(self.stride, self.stride, ceil_mode=True)
        return nn.Sequential(layers)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "Transition":
        """The same layer for another input. Raises LocalgradError for groups."""
        _no_groups("Transition", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "Transition")


@final
@dataclass(frozen=True)
class NormPooledLinear:
    """BatchNorm, ReLU, global average pooling, Linear: the classifier, h_BCHW to logits_BK."""

    in_channels: int
    num_classes: int

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of bn, relu, pool, fc."""
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                bn=nn.BatchNorm2d(self.in_channels),
                relu=nn.ReLU(inplace=True),
                pool=GlobalAvgPool(),
                fc=nn.Linear(self.in_channels, self.num_classes),
            )
        )

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "NormPooledLinear":
        """The same classifier for another number of channels."""
        return replace(self, in_channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LocalgradError(
                f"NormPooledLinear: expected input of shape ({self.in_channels}, H, W), got {tuple(shape)}."
            )
        return (self.num_classes,)


def cifar_densenet(
    layers: int = 100,
    growth: int = 12,
    num_classes: int = 10,
    width: float = 1,
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """A DenseNet-BC of ``layers`` = 6n + 4 layers and growth rate ``growth``, compression 0.5.

    Blocks are ``stem`` (2 ``growth`` channels), ``layer1.0`` ... ``layer1.{n-1}``, ``transition1``, ``layer2.0`` ...
    ``layer3.{n-1}``: 3n + 3; the classifier is ``head``. ``width`` multiplies the growth rate and so all channels.
    Convolutions ~ N(0, sqrt(2 / (kh kw C_out))). Raises LocalgradError for other layers, a growth rate below 1 and
    fewer than 2 classes.
    """
    who = "cifar_densenet"
    per_stage, rest = divmod(layers - 4, 6)
    if rest or per_stage < 1:
        near = max(10, 6 * round((layers - 4) / 6) + 4)
        raise LocalgradError(f"{who}: layers must be 6n + 4 (10, 16, 22, ..., 100), got {layers}. Nearest: {near}.")
    check_task(who, num_classes, image)
    if type(growth) is not int or growth < 1:
        raise LocalgradError(f"{who}: growth must be a whole number of at least 1, got {growth!r}.")
    (new,) = widened(who, (growth,), width)
    channels = 2 * new
    blocks: list[Block] = [PlainConv(image[0], channels)]
    names = ["stem"]
    for stage in (1, 2, 3):
        for index in range(per_stage):
            blocks.append(DenseLayer(channels, new))
            names.append(f"layer{stage}.{index}")
            channels += new
        if stage < 3:
            blocks.append(Transition(channels, channels // 2))
            names.append(f"transition{stage}")
            channels //= 2
    return Backbone(
        name=f"densenet_bc_{layers}_{growth}",
        constructor=who,
        arguments=(
            ("layers", layers),
            ("growth", growth),
            ("num_classes", num_classes),
            ("width", width),
            ("image", tuple(image)),
        ),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=NormPooledLinear(channels, num_classes),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
        head_widths=tuple(max(1, round(base * new / 12)) for base in _HEAD_WIDTHS),
    )


def densenet_bc_100_12(num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32)) -> Backbone:
    """DenseNet-BC of 100 layers and growth rate 12 (51 blocks). See ``cifar_densenet``."""
    return cifar_densenet(100, 12, num_classes, width, image)


def _no_groups(who: str, groups: int) -> None:
    """Raise LocalgradError for convolution groups: nothing is known of how concatenated channels would be shared."""
    if groups != 1:
        raise LocalgradError(f"{who}: DenseNets have no convolution groups, so groups must be 1, got {groups}.")
